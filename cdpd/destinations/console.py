"""Console: each event as a line where the daemon runs, for people."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Any, Final, Literal, TextIO

import anyio.to_thread

from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import Batch, Destination, DestinationConfig, DestinationEnv
from cdpd.destinations.outcome import Delivered, Outcome
from cdpd.event import Event
from cdpd.lines import look_into, pretty
from cdpd.terminal import coloured

_DONE: Final = Delivered()
_NOBODY_LOOKS: Final = (errno.EPIPE, errno.EBADF, errno.EIO)


class Console(Destination):
    """Console: each event as a line where the daemon runs: time, source, call, name, user, properties."""

    name = "Console"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        colour: Literal["auto", "always", "never"] = "auto"
        """`auto`: on a terminal, unless NO_COLOR is set."""

    def __init__(self, config: Any, env: DestinationEnv, out: TextIO | None = None) -> None:
        super().__init__(config, env)
        self._out = out or sys.stdout

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        wanted = self.config.colour
        colour = wanted == "always" or (wanted == "auto" and coloured(self._out))
        text = "".join(pretty(look_into("events", event.line()), colour) + "\n" for event in batch.events)
        # A terminal that is stopped (Ctrl-S) blocks whoever writes to it: never the loop.
        await anyio.to_thread.run_sync(self._write, text, abandon_on_cancel=True)
        return [_DONE] * len(batch.events)

    async def check(self) -> Checked:
        return Checked("ok", "there is nothing to connect to")

    def preview(self, event: Event) -> object:
        return pretty(look_into("events", event.line()), colour=False)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError as error:
            if error.errno not in _NOBODY_LOOKS:
                raise
            # Nobody looks any more: no reason to hold events back, or to complain at each.
