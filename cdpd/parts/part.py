"""What a part of the daemon is given, and what it offers: to start, to be reloaded, asked and stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.load import LoadedConfig
from cdpd.config.roles import Role
from cdpd.control.contract import Calls
from cdpd.metrics import Metrics
from cdpd.streams import Streams
from cdpd.upkeep import Kept


class Ground(Struct, frozen=True):
    """What every part stands on."""

    loaded: Callable[[], LoadedConfig]
    """The configuration of this moment."""
    streams: Streams
    clock: Clock
    metrics: Metrics
    log: structlog.typing.FilteringBoundLogger


class Part(Protocol):
    """A part that has been opened.

    A reload is `prepare` of every part, in the order of ROLES, then `apply` of every part; where one refuses,
    `undo` of those before it.
    """

    @property
    def role(self) -> Role:
        """Which one it is."""
        ...

    async def run(self) -> None:
        """Work until cancelled."""
        ...

    async def ready(self) -> None:
        """Return once requests may come."""
        ...

    async def stop(self) -> None:
        """Finish what cannot be broken off, bounded; `run` is cancelled afterwards."""
        ...

    async def prepare(self, loaded: LoadedConfig) -> list[str]:
        """Get ready for another configuration; what of it needs a restart.

        Raises ConfigError with nothing changed.
        """
        ...

    async def apply(self, loaded: LoadedConfig) -> None:
        """Use what was prepared."""
        ...

    async def undo(self) -> None:
        """Forget what was prepared."""
        ...

    def kept(self) -> list[Kept]:
        """The streams that it writes, and who needs them."""
        ...

    def status(self) -> dict[str, Any]:
        """Its share of what `cdpd status --json` shows."""
        ...

    def calls(self) -> Calls:
        """What it answers on the control socket."""
        ...

    def reopen(self) -> None:
        """Open output files again (logrotate)."""
        ...
