"""What a hook plugin is made of: its base class, its surroundings, and the source an event came from.

Discovery (entry points → classes) is in cdpd/discovery.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from msgspec import Struct

from cdpd.clock import Clock
from cdpd.event import Position

if TYPE_CHECKING:  # `cdpd check` and `cdpd plugins` import plugins for their Config alone
    import structlog

    from cdpd.log.reader import Reader


class Source(Struct, frozen=True):
    """A configured source, as hooks see it."""

    name: str
    type: str | None = None
    """`javascript`, `mobile`, `server` …; None where the configuration leaves it to what a request shows."""
    labels: Mapping[str, str] = {}


class Streams(Protocol):
    """Reading the log from inside a plugin."""

    def reader(self, stream: str, position: Position) -> Reader:
        """A reader of `received`, `events` or `discarded` from a position, up to the durable end."""
        ...

    def end(self, stream: str) -> Position:
        """The durable end; costs nothing."""
        ...

    def at_time(self, stream: str, ms: int) -> Position:
        """At or a bit before the first line of that log time; looks into the stream's files."""
        ...


CACHE_SIGNATURE: Final = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# cdpd makes what is in this folder again.\n"
)


class PluginEnv(Struct, frozen=True):
    """What the daemon hands to a plugin."""

    name: str
    """The instance's name in the configuration."""
    state_dir: Path
    """A folder of this plugin's own; made (0700) by `Plugin.state()` when first wanted."""
    streams: Streams
    clock: Clock
    log: structlog.typing.FilteringBoundLogger


class NoOptions(Struct, forbid_unknown_fields=True, frozen=True):
    """The Config of a plugin that has no options."""


class Plugin:
    """Base of every hook plugin; `cdpd.hookspecs` lists the functions to implement."""

    Config: ClassVar[type[Struct]] = NoOptions
    """The options of `[hooks.NAME]`: a msgspec Struct with `forbid_unknown_fields=True`."""
    not_rehearsed: ClassVar[str] = ""
    """Why it is left out of rehearsals (`cdpd diff`, `cdpd trace`), which run events of the past again: it asks the
    network, or judges by what is stored already. "": it is rehearsed, with an empty `state_dir` and without
    `cdpd_committed`."""

    takes_objects: ClassVar[bool] = False
    """Whether objects (`set` calls, `event.type == "set"`) are given to its hooks too. They are no events: they have
    `collection`, `id` and `properties`, and nobody whom they are of. `cdpd_committed` is told of them in any case."""

    def __init__(self, config: Any, env: PluginEnv) -> None:
        self.config = config
        self.env = env

    def state(self, *, cache: bool = False) -> Path:
        """The plugin's own folder, made if need be.

        `cache`: all that is in it is made again from the streams where it is missing, so backups leave it out (it
        gets a CACHEDIR.TAG, bford.info/cachedir).
        """
        self.env.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if cache:
            tag = self.env.state_dir / "CACHEDIR.TAG"
            tag.write_text(CACHE_SIGNATURE)
            tag.chmod(0o600)
        return self.env.state_dir
