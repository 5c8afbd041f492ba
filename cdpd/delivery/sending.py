"""Sending a batch: one call of `deliver`, its outcomes checked, halved where it is too large, and journalled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import anyio
from msgspec import Struct, field

from cdpd.clock import Clock
from cdpd.delivery.cursor import ranges_of
from cdpd.delivery.lanes import Item
from cdpd.delivery.mask import Mask
from cdpd.delivery.state import Attempt
from cdpd.destinations.answers import failure_of
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import (
    BadEvent,
    Delivered,
    Misconfigured,
    Outcome,
    Skipped,
    TooLarge,
    TryAgain,
)
from cdpd.event import Event
from cdpd.foreign import ends_us, trace
from cdpd.section import Section

_KINDS: Final = (Delivered, Skipped, TryAgain, TooLarge, BadEvent, Misconfigured)
_WORDS: Final = {
    Delivered: "delivered",
    Skipped: "skipped",
    TryAgain: "try again",
    TooLarge: "too large",
    BadEvent: "bad event",
    Misconfigured: "misconfigured",
}
_FIRST_PART: Final = TryAgain("an earlier part of the batch has to go first")


LONGEST_CALL: Final = 600.0
"""Seconds after which a `deliver` that does not return is given up: no destination hangs for ever."""


class Sent(Struct):
    """What became of a batch."""

    outcomes: list[Outcome]
    attempts: list[Attempt] = field(default_factory=list)
    fault: str = ""
    """For the log: traceback or text where the destination itself is to blame."""
    too_large: int | None = None
    """Bytes of the smallest batch of several that was too large."""


async def send(
    deliver: Callable[[Batch], Awaitable[Sequence[Outcome]]],
    items: Sequence[Item],
    attempt: int,
    clock: Clock,
    mask: Mask,
) -> Sent:
    """Deliver the items; one outcome each, never TooLarge. Never raises but for cancellation."""
    sent = await _call(deliver, items, attempt, clock, mask)
    large = [i for i, outcome in enumerate(sent.outcomes) if isinstance(outcome, TooLarge)]
    if not large:
        return sent
    if len(items) == 1:
        told = sent.outcomes[0]
        assert isinstance(told, TooLarge)
        sent.outcomes = [BadEvent(told.reason, told.status, told.request, told.answer)]
        return sent
    sent.too_large = sum(len(items[i].line) for i in large) if len(large) > 1 else None
    half = (len(large) + 1) // 2
    held = False
    for part in (large[:half], large[half:]):
        if not part:
            continue
        if held:  # a user's events may be in both halves: the second must not overtake the first
            for i in part:
                sent.outcomes[i] = _FIRST_PART
            continue
        inner = await send(deliver, [items[i] for i in part], attempt, clock, mask)
        for i, outcome in zip(part, inner.outcomes, strict=True):
            sent.outcomes[i] = outcome
        sent.attempts += inner.attempts
        sent.fault = sent.fault or inner.fault
        if inner.too_large is not None:
            sent.too_large = min(sent.too_large or inner.too_large, inner.too_large)
        held = any(isinstance(outcome, TryAgain | Misconfigured) for outcome in inner.outcomes)
    return sent


async def _call(
    deliver: Callable[[Batch], Awaitable[Sequence[Outcome]]],
    items: Sequence[Item],
    attempt: int,
    clock: Clock,
    mask: Mask,
) -> Sent:
    at_ms, begun = clock.now_ms(), clock.monotonic()
    try:
        with anyio.fail_after(LONGEST_CALL):
            answer = await deliver(Batch([_event(item) for item in items], attempt))
    except BaseException as error:  # a stranger's code may raise anything; nothing may get lost by it
        if ends_us(error):
            raise
        if isinstance(error, Exception):
            sent = _raised(error, len(items))
        else:
            sent = Sent(
                [TryAgain(f"the destination raised {type(error).__name__}")] * len(items),
                fault=trace(error),
            )
    else:
        sent = _answered(answer, len(items))
    sent.outcomes = [_masked(outcome, mask) for outcome in sent.outcomes]
    sent.attempts = _journal(items, sent.outcomes, attempt, at_ms, clock.monotonic() - begun)
    return sent


def _event(item: Item) -> Event:
    event = Event(item.line)
    if item.options is not None:
        event.options = Section(item.options)
    return event


def _answered(answer: Any, events: int) -> Sent:
    """What `deliver` returned, checked: a destination that miscounts must not lose an event."""
    if isinstance(answer, Sequence) and len(answer) == events:
        if all(isinstance(outcome, _KINDS) for outcome in answer):
            return Sent(list(answer))
        shown = "something that is no Outcome"
    else:
        shown = f"{len(answer)} outcomes" if isinstance(answer, Sequence) else type(answer).__name__
    text = f"deliver returned {shown} for {events} events: it must return one Outcome an event"
    return Sent([TryAgain(text)] * events, fault=text)


def _raised(error: Exception, events: int) -> Sent:
    """What an exception out of `deliver` means for all its events."""
    single: BaseException = error
    while isinstance(single, ExceptionGroup) and len(single.exceptions) == 1:
        single = single.exceptions[0]
    outcome = failure_of(single)
    if outcome is not None:
        return Sent([outcome] * events)
    return Sent([TryAgain(f"{type(single).__name__}: {single}")] * events, fault=trace(error))


def _masked(outcome: Outcome, mask: Mask) -> Outcome:
    match outcome:
        case Delivered() | Skipped():
            return outcome
        case TryAgain(reason, status, after):
            return TryAgain(mask(reason), status, after)
        case Misconfigured(reason, status, after):
            return Misconfigured(mask(reason), status, after)
        case BadEvent(reason, status, request, answer):
            return BadEvent(mask(reason), status, mask(request), mask(answer))
        case TooLarge(reason, status, request, answer):
            return TooLarge(mask(reason), status, mask(request), mask(answer))


def _journal(
    items: Sequence[Item], outcomes: Sequence[Outcome], attempt: int, at_ms: int, seconds: float
) -> list[Attempt]:
    """One row for each different outcome."""
    alike: dict[tuple[str, int | None, str], list[Item]] = {}
    for item, outcome in zip(items, outcomes, strict=True):
        status = None if isinstance(outcome, Skipped) else outcome.status
        reason = "" if isinstance(outcome, Delivered) else getattr(outcome, "reason", "")
        alike.setdefault((_WORDS[type(outcome)], status, reason), []).append(item)
    rows = []
    for (word, status, reason), members in alike.items():
        ranges = ranges_of((item.position.offset, 0) for item in members)
        rows.append(
            Attempt(
                attempt=attempt,
                at_ms=at_ms,
                seconds=round(seconds, 6),
                events=len(members),
                bytes=sum(len(item.line) for item in members),
                first=ranges[0].first,
                last=ranges[-1].end - 1,
                offsets=",".join(f"{item.first}-{item.end}" for item in ranges),
                outcome=word,
                status=status,
                reason=reason,
            )
        )
    return rows
