"""Console: each event as a line where the daemon runs, for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, Literal

from cdpd.destinations.contract import Batch, Destination, DestinationConfig
from cdpd.destinations.outcome import Delivered, Outcome
from cdpd.lines import look_into, pretty
from cdpd.terminal import coloured

_DONE: Final = Delivered()


class Console(Destination):
    """Console: each event as a line where the daemon runs: time, source, call, name, user, properties."""

    name = "Console"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        colour: Literal["auto", "always", "never"] = "auto"
        """`auto`: on a terminal, unless NO_COLOR is set."""

    config: Config

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        colour = self.config.colour == "always" or (self.config.colour == "auto" and coloured(sys.stdout))
        lines = [pretty(look_into("events", event.line()), colour) + "\n" for event in batch.events]
        try:
            sys.stdout.write("".join(lines))
            sys.stdout.flush()
        except BrokenPipeError:
            pass  # nobody looks any more; that is no reason to hold events back
        return [_DONE] * len(batch.events)
