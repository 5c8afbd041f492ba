"""A slice on its way through the chains, plugin by plugin: who survives, who ends and why, what it cost.

Nothing of it is final before the pipeline commits it: a passage can be thrown away and begun again.
"""

from __future__ import annotations

import inspect
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Sequence
from typing import Final

import anyio

from cdpd.clock import Clock
from cdpd.config.model import PipelineConfig
from cdpd.event import Event, Violation
from cdpd.foreign import ends_us, kind
from cdpd.hookspecs import Discard, Retry
from cdpd.pipeline.chain import Chain, Chains, Instance
from cdpd.pipeline.discarded import Ended
from cdpd.pipeline.line import PIPELINE
from cdpd.pipeline.pace import Pace
from cdpd.pipeline.watch import Watch

HOOK_ERROR: Final = "hook_error"
SOURCE_REMOVED: Final = "source_removed"


class AskAgain(Exception):
    """A plugin cannot decide now: the slice is to be tried again later."""

    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(f"{plugin}: {reason}")
        self.plugin = plugin
        self.reason = reason


class TooManyFailures(Exception):
    """A plugin failed so often in a row that going on would pour the stream into `discarded`."""

    def __init__(self, plugin: str, failures: int, last: str) -> None:
        super().__init__(f"{plugin} failed {failures} times in a row; the last: {last}")
        self.plugin = plugin
        self.failures = failures
        self.last = last


class Passage:
    """One attempt to bring a slice through."""

    def __init__(
        self, chains: Chains, options: PipelineConfig, pace: Pace, clock: Clock, watch: Watch
    ) -> None:
        self.ended: dict[int, Ended] = {}
        """By offset in `received`."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Spent in each plugin."""
        self.failures: defaultdict[str, int] = defaultdict(int)
        """Hooks that raised, by plugin."""
        self.rows = dict(watch.rows)
        """Failures in a row, by plugin, once this passage is committed."""
        self._chains = chains
        self._options = options
        self._pace = pace
        self._clock = clock
        self._watch = watch

    async def run(self, events: Sequence[Event]) -> list[Event]:
        """The survivors, in order. Raises AskAgain, TooManyFailures."""
        groups: dict[str, list[Event]] = {}
        objects: dict[str, list[Event]] = {}
        for event in events:
            received = event.received
            assert received is not None
            if received.is_object:
                objects.setdefault(received.source, []).append(event)
                continue
            group = groups.get(received.source)
            if group is None:
                group = groups[received.source] = []
            group.append(event)
        await self._run_groups(groups, objects=False)
        await self._run_groups(objects, objects=True)
        if not self.ended:
            return list(events)
        ended = self.ended
        return [e for e in events if e.received is not None and e.received.position.offset not in ended]

    async def _run_groups(self, groups: dict[str, list[Event]], objects: bool) -> None:
        """Events, or objects, by their source."""
        for name, group in groups.items():
            chain = self._chains.of(name)
            if chain is None:
                for event in group:
                    self._end(event, PIPELINE, SOURCE_REMOVED, f"the source {name!r} is no longer configured")
            else:
                await self._run_chain(chain, group, objects)

    async def _run_chain(self, chain: Chain, events: list[Event], objects: bool) -> None:
        for hook in chain.hooks:
            if objects and not hook.takes_objects:
                continue
            if not events:
                return
            events = await self._run_hook(hook, events, chain)

    async def _run_hook(self, hook: Instance, events: list[Event], chain: Chain) -> list[Event]:
        """The survivors of one plugin."""
        if hook.prepare is not None:
            try:
                await self._prepare(hook, events, chain)
            except Retry as error:
                raise AskAgain(hook.name, str(error) or "it asked to be called again") from error
            except BaseException as error:
                if ends_us(error):
                    raise
                # A stranger's code may raise anything: it is told, counted, kept with the event.
                return await self._without_the_bad(hook, events, chain, error)
        return await self._each(hook, events, chain)

    async def _without_the_bad(
        self, hook: Instance, events: list[Event], chain: Chain, error: BaseException
    ) -> list[Event]:
        """After a failed cdpd_prepare: find the event that it failed for, by halves, and go on with the rest."""
        if len(events) == 1:
            self._failed(hook, events[0], error)
            return []
        half = len(events) // 2
        first = await self._run_hook(hook, events[:half], chain)
        return first + await self._run_hook(hook, events[half:], chain)

    async def _prepare(self, hook: Instance, events: list[Event], chain: Chain) -> None:
        assert hook.prepare is not None
        began = self._pace.monotonic()
        result = hook.prepare(events, chain.source)
        if inspect.isawaitable(result):
            await self._in_time(result, hook)
            # Waiting is no work: only what it held the loop for before its first wait can be told.
        else:
            self._note_time(hook, "cdpd_prepare", began, self._pace.monotonic())
        if self._pace.due():
            await self._pace.rest()

    async def _in_time(self, result: Awaitable[None], hook: Instance) -> None:
        limit = self._options.prepare_timeout
        began = self._pace.monotonic()
        late = False
        failure: BaseException | None = None

        async def alarm() -> None:
            nonlocal late
            await self._clock.sleep(limit)
            late = True
            both.cancel_scope.cancel()

        async with anyio.create_task_group() as both:
            both.start_soon(alarm)
            try:
                await result
            except BaseException as error:
                if ends_us(error):
                    raise
                failure = error  # raised below, outside the task group's wrapping
            both.cancel_scope.cancel()
        self.seconds[hook.name] += self._pace.monotonic() - began
        if failure is not None:
            raise failure
        if late:
            raise Retry(f"cdpd_prepare took longer than {limit:g} s (pipeline.prepare_timeout)")

    async def _each(self, hook: Instance, events: list[Event], chain: Chain) -> list[Event]:
        """The three hooks for each event."""
        validate, enrich, filter_ = hook.validate, hook.enrich, hook.filter
        if validate is None and enrich is None and filter_ is None:
            return events
        source, pace, monotonic = chain.source, self._pace, self._pace.monotonic
        slow = self._options.slow_hook_ms / 1000
        failed_before = self.rows.get(hook.name, 0)
        survivors: list[Event] = []
        keep = survivors.append
        spent = 0.0
        began = before = monotonic()
        for event in events:
            try:
                if validate is not None:
                    found = validate(event, source)
                    if found is not None:
                        _report(event, found)
                if enrich is not None:
                    enrich(event, source)
                discard = None if filter_ is None else filter_(event, source)
                if discard is None:
                    keep(event)
                else:
                    self._discard(hook, event, discard)
                if failed_before:
                    failed_before = self.rows[hook.name] = 0
            except Retry as error:
                raise AskAgain(hook.name, str(error) or "it asked to be called again") from error
            except BaseException as error:
                if ends_us(error):
                    raise
                # A stranger's code may raise anything: it is told, counted, kept with the event.
                self._failed(hook, event, error)
                failed_before = 1
            now = monotonic()
            if now - before > slow:
                self._slow(hook, "an event", now - before, event)
            if now >= pace.deadline:
                spent += now - began
                await pace.rest()
                began = now = monotonic()
            before = now
        self.seconds[hook.name] += spent + before - began
        return survivors

    def _note_time(self, hook: Instance, what: str, began: float, ended: float) -> None:
        self.seconds[hook.name] += ended - began
        if ended - began > self._options.slow_hook_ms / 1000:
            self._slow(hook, what, ended - began)

    def _slow(self, hook: Instance, what: str, seconds: float, event: Event | None = None) -> None:
        # Not its messageId: clients make those of what they like.
        received = None if event is None else event.received
        details = {} if received is None else {"received": received.position.offset}
        text = "a slow hook held everything up"
        self._watch.warn(text, hook.name, in_=what, milliseconds=round(seconds * 1000, 1), **details)

    def _discard(self, hook: Instance, event: Event, discard: object) -> None:
        if not isinstance(discard, Discard) or not all(
            isinstance(text, str) for text in (discard.code, discard.message)
        ):
            raise TypeError(f"cdpd_filter returned {discard!r}: a Discard of texts, or None, is expected")
        self._end(event, hook.name, discard.code, discard.message, bool(discard.record))

    def _failed(self, hook: Instance, event: Event, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}"
        row = self.rows[hook.name] = self.rows.get(hook.name, 0) + 1
        if row >= self._options.stop_after_failures:
            raise TooManyFailures(hook.name, row, reason) from error
        self.failures[hook.name] += 1
        trace = "".join(traceback.format_exception(error))
        self._end(event, hook.name, HOOK_ERROR, reason, trace=trace)
        self._watch.warn("a hook failed; the event went to discarded", hook.name, error=kind(error))

    def _end(
        self, event: Event, by: str, code: str, message: str, record: bool = True, trace: str = ""
    ) -> None:
        received = event.received
        assert received is not None
        offset = received.position.offset
        code, message, trace = map(_storable, (code, message, trace))
        self.ended[offset] = Ended(
            offset, received.source, by, code, message, record, trace, received.via.retry > 0
        )


def _storable(text: str) -> str:
    """Without lone surrogates, which JSON text cannot hold."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _report(event: Event, found: Violation | Iterable[Violation]) -> None:
    for violation in (found,) if isinstance(found, Violation) else found:
        if not isinstance(violation, Violation):
            raise TypeError(f"cdpd_validate reported {violation!r}: a Violation is expected")
        event.violations.append(violation)
