"""function: the insert function of a source, which changes each event before all other hooks, or drops it.

`insert = "functions/clean.py"` of a source puts it into the chain after `spec` and `dedup`. Calls of a function take
time, so they go on while the pipeline waits: a slice that is not through when `cdpd_prepare` has to end comes again,
and finds what was made of its events meanwhile. Source: spec/connections.md §1 (stage 5), §9.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta, Raw, Struct

from cdpd.config.functions import LONGEST, ON_BATCH, FunctionSetup, read_settings
from cdpd.event import Event
from cdpd.functions.frames import Result
from cdpd.functions.host import Host, Surroundings
from cdpd.functions.insert import AT_ONCE, DB, apply
from cdpd.functions.kept import FunctionsDb
from cdpd.functions.process import CannotLoad
from cdpd.hookspecs import Discard, Retry, hookimpl
from cdpd.plugins import Plugin, PluginEnv, Source

WAITS: Final = (0.5, 2.0)
"""Seconds before another try of an event for which the function said "not now" or took too long; then it is discarded,
and can be sent again (`cdpd discarded retry`): one event must not hold up all sources."""
CODES: Final = {
    "dropped": "function_dropped",
    "unsupported": "unsupported_event_type",
    "rejected": "message_rejected",
    "retry": "function_retry",
    "timeout": "function_timeout",
}
"""How a call ended → the code in `discarded`. All else is an error of the hook (`hook_error`)."""
_AGAIN: Final = ("retry", "timeout")


class FunctionFailed(Exception):
    """The function raised something that is not one of its error classes, or answered what is no event."""


class Function(Plugin):
    """Runs a Python file of your own on every event (`on_track(event, settings)` …), in its own process."""

    not_rehearsed: ClassVar[str] = "it runs code of yours, which may ask the network"

    class Config(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
        file: Path
        """The Python file; relative to the configuration's folder. It is trusted code."""
        settings: dict[str, Any] = {}
        """Handed to every call as its second argument."""
        timeout: Annotated[float, Meta(gt=0, le=LONGEST)] = 5.0
        """Seconds that one call may take."""

        def __post_init__(self) -> None:
            msgspec.structs.force_setattr(self, "settings", read_settings(self.settings))

    def __init__(self, config: Any, env: PluginEnv) -> None:
        super().__init__(config, env)
        setup = FunctionSetup(file=str(config.file), settings=config.settings, timeout=config.timeout)
        around = Surroundings(FunctionsDb(env.state_dir / DB), env.clock, env.log)
        self._host = Host(f"insert of source {env.name.removesuffix('.insert')}", "insert", setup, around)
        self._results: dict[str, dict[int, Result]] = {}
        """Source → offset in `received` → what the function made of that event."""
        self._calls: dict[tuple[str, int], asyncio.Task[None]] = {}
        """Events whose call runs."""
        self._problem: CannotLoad | None = None

    @hookimpl
    async def cdpd_startup(self) -> None:
        await self._host.handlers()

    @hookimpl
    async def cdpd_shutdown(self) -> None:
        running = set(self._calls.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await self._host.close()

    @hookimpl
    async def cdpd_prepare(self, events: Sequence[Event], source: Source) -> None:
        results = self._results.setdefault(source.name, {})
        offsets = [_offset(event) for event in events]
        for old in [offset for offset in results if offset < offsets[0]]:
            del results[old]
        new = [
            e for e in events if _offset(e) not in results and (source.name, _offset(e)) not in self._calls
        ]
        self._problem = None
        if new:
            self._begin(new, source.name)
        running = {self._calls[key] for offset in offsets if (key := (source.name, offset)) in self._calls}
        if running:
            await asyncio.wait(running)  # which they survive when this is cancelled
        if self._problem is not None:
            raise Retry(f"the function cannot be run: {self._problem}")

    @hookimpl
    def cdpd_enrich(self, event: Event, source: Source) -> None:
        result = self._results[source.name][_offset(event)]
        if result.ended == "done":
            apply(event, result)
        elif result.ended not in CODES:
            status = "" if result.status is None else f"{result.status}: "
            raise FunctionFailed(f"{status}{result.message}\n{result.trace}".rstrip())

    @hookimpl
    def cdpd_filter(self, event: Event, source: Source) -> Discard | None:
        result = self._results[source.name][_offset(event)]
        return None if result.ended == "done" else Discard(CODES[result.ended], result.message)

    # -- calls -----------------------------------------------------------------------------------------------

    def _begin(self, events: Sequence[Event], source: str) -> None:
        """Start calls for these events, some at a time; `cdpd_shutdown` waits for their end."""
        # Their text as it is now: the pipeline may throw the events away and read them again.
        items = [(_offset(event), Raw(event.line()), event.message_id) for event in events]
        task = asyncio.create_task(self._run(items, source))
        keys = [(source, offset) for offset, _, _ in items]
        self._calls.update(dict.fromkeys(keys, task))

    async def _run(self, items: Sequence[tuple[int, Raw, str]], source: str) -> None:
        try:
            whole = ON_BATCH in await self._host.handlers()
            step = len(items) if whole else AT_ONCE
            for begin in range(0, len(items), step):
                some = items[begin : begin + step]
                results = await self._tried(some)
                for (offset, _, _), result in zip(some, results, strict=True):
                    self._results[source][offset] = result
                    self._calls.pop((source, offset), None)
        except CannotLoad as error:
            self._problem = error
        finally:
            for offset, _, _ in items:
                self._calls.pop((source, offset), None)

    async def _tried(self, items: Sequence[tuple[int, Raw, str]]) -> list[Result]:
        """One result an item, after up to three tries. Raises CannotLoad."""
        results = await self._called(items)
        for wait in WAITS:
            again = [i for i, result in enumerate(results) if result.ended in _AGAIN]
            if not again:
                break
            await self.env.clock.sleep(wait)
            for i, result in zip(again, await self._called([items[i] for i in again]), strict=True):
                results[i] = result
        return results

    async def _called(self, items: Sequence[tuple[int, Raw, str]]) -> list[Result]:
        return await self._host.call([text for _, text, _ in items], lambda place: items[place][2])


def _offset(event: Event) -> int:
    assert event.received is not None
    return event.received.position.offset
