"""Function: a destination that is a Python file of your own. Source: spec/connections.md §9.2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Raw, field

from cdpd.config.functions import ON_BATCH, FunctionSetup, read_settings
from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationConfig, DestinationEnv
from cdpd.destinations.outcome import Outcome
from cdpd.destinations.steps import Entry, plan, run_steps, user_of
from cdpd.event import TYPES, Event
from cdpd.functions.host import Host, Surroundings
from cdpd.functions.kept import FunctionsDb
from cdpd.functions.outcomes import not_loaded, outcome_of_result
from cdpd.functions.process import CannotLoad

USUAL_BATCH: Final = 20
MOST: Final = 400
"""Events of a batch (§9.2)."""
AT_ONCE: Final = 20
"""Calls of single handlers that run side by side; each user's go one after the other."""
DB: Final = "functions.db"
"""In the destination's own folder."""


class FunctionDestination(Destination):
    """Function: handlers in a Python file of your own (`on_track(event, settings)` …); it runs in its own process."""

    name = "Function"
    supports: ClassVar[frozenset[str]] = frozenset((*TYPES, "delete"))

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        file: Path
        """The Python file; relative to the configuration's folder. It is trusted code."""
        settings: dict[str, Any] = field(default_factory=dict)
        """Handed to every call as its second argument. Values are texts, numbers, booleans, lists of those, or secrets
        like `{ env = "NAME" }`."""

        def __post_init__(self) -> None:
            super(type(self), self).__post_init__()
            msgspec.structs.force_setattr(self, "settings", read_settings(self.settings))

    def __init__(self, config: Any, env: DestinationEnv) -> None:
        super().__init__(config, env)
        most = MOST if config.batch is not None else USUAL_BATCH
        self.limits = BatchLimits(max_events=most, max_bytes=self.limits.max_bytes)
        setup = FunctionSetup(file=str(config.file), settings=config.settings, timeout=config.timeout)
        around = Surroundings(FunctionsDb(env.state_dir / DB), env.clock, env.log)
        self._host = Host(f"destination {env.name}", "destination", setup, around)

    async def stop(self) -> None:
        await self._host.close()

    async def check(self) -> Checked:
        """Whether the file can be run. What its handlers do, only they know."""
        try:
            handlers = await self._host.handlers()
        except CannotLoad as error:
            return Checked("failed", f"the function cannot be run: {error}")
        return Checked("ok", f"the file runs, and has {', '.join(sorted(handlers))}")

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        events = batch.events
        try:
            if ON_BATCH in await self._host.handlers():
                return await self._call(events)
        except CannotLoad as error:
            return [not_loaded(error)] * len(events)
        entries = [Entry(place, user_of(event, self.config.ordering)) for place, event in enumerate(events)]
        return await run_steps(
            entries,
            plan(entries),
            lambda places: self._one_by_one([events[place] for place in places]),
            at_once=max(1, round(AT_ONCE * batch.share)),
            strict=self.config.ordering == "strict",
        )

    async def _one_by_one(self, events: Iterable[Event]) -> list[Outcome]:
        try:
            return [outcome for event in events for outcome in await self._call([event])]
        except CannotLoad as error:
            return [not_loaded(error) for _ in events]

    async def _call(self, events: Sequence[Event]) -> list[Outcome]:
        """Raises CannotLoad."""
        items = [Raw(event.line()) for event in events]
        results = await self._host.call(items, lambda place: events[place].message_id)
        now = self.env.clock.now_ms()
        return [outcome_of_result(result, now) for result in results]
