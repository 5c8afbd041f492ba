"""Sending a batch: calls of `deliver`, their outcomes checked and journalled; smaller batches where that helps.

A batch that is too large is halved, and what the vendor refused only because of others in the batch goes again without
them, at once. Neither lets a user's later event overtake an earlier one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import anyio
import msgspec
from msgspec import Struct, field

from cdpd.clock import Clock
from cdpd.delivery.cursor import ranges_of
from cdpd.delivery.lanes import Item
from cdpd.delivery.mask import Mask
from cdpd.delivery.state import Attempt
from cdpd.destinations.answers import failure_of
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import (
    HELD,
    OUTCOMES,
    BadEvent,
    Delivered,
    Misconfigured,
    Outcome,
    RateLimited,
    Resend,
    Skipped,
    TooLarge,
    TryAgain,
)
from cdpd.event import Event
from cdpd.foreign import ends_us, trace
from cdpd.section import Section

_ONLY_RESEND: Final = "deliver returned Resend for every event of the batch: one has to have another outcome"

_HOLDING: Final = (TryAgain, RateLimited, Misconfigured)
"""What makes a user's later events wait …"""
_HOLDING_ALL: Final = (*_HOLDING, BadEvent)
"""… and with strict order everybody's."""

LONGEST_CALL: Final = 600.0
"""Seconds after which a `deliver` that does not return is given up: no destination hangs for ever."""
LONGEST_ANSWER: Final = 500
"""Characters of a vendor's answer that the journal keeps."""

Deliver = Callable[[Batch], Awaitable[Sequence[Outcome]]]


class Sent(Struct):
    """What became of a batch."""

    outcomes: list[Outcome]
    attempts: list[Attempt] = field(default_factory=list)
    fault: str = ""
    """For the log: traceback or text where the destination itself is to blame."""
    too_large: int | None = None
    """Bytes of the smallest batch of several that was too large."""


async def send(
    deliver: Deliver,
    items: Sequence[Item],
    attempt: int,
    clock: Clock,
    mask: Mask,
    *,
    strict: bool = False,
    share: float = 1.0,
) -> Sent:
    """Deliver the items; one outcome each, never TooLarge or Resend. Never raises but for cancellation.

    strict: no event is sent after one that was refused either. share: as in Batch.
    """
    whole = Sent([HELD] * len(items))
    parts = deque([list(range(len(items)))])
    while parts:
        part = _may_go(items, whole.outcomes, parts.popleft(), strict=strict)
        if not part:
            continue
        sent = await _call(deliver, [items[i] for i in part], attempt, share, clock, mask)
        whole.attempts += sent.attempts
        whole.fault = whole.fault or sent.fault
        for i, outcome in zip(part, sent.outcomes, strict=True):
            whole.outcomes[i] = outcome
        parts.extendleft(reversed(_smaller(items, part, whole)))
        held = _away(sent.outcomes)
        if held is not None:
            for i in (i for left in parts for i in left):
                whole.outcomes[i] = held
            break
    return whole


def _may_go(
    items: Sequence[Item], outcomes: list[Outcome], part: Sequence[int], *, strict: bool
) -> list[int]:
    """Those of a part that no earlier event of the same user holds; the others get their outcome here."""
    if len(part) == len(items):
        return list(part)
    holding = _HOLDING_ALL if strict else _HOLDING
    waiting, held, go = set(part), set[bytes | None](), []
    for i in range(part[-1] + 1):
        key = items[i].key
        if i not in waiting:
            if isinstance(outcomes[i], holding):
                held.add(key)
        elif key is not None and key in held:
            outcomes[i] = HELD
        else:
            go.append(i)
    return go


def _smaller(items: Sequence[Item], part: Sequence[int], whole: Sent) -> list[list[int]]:
    """The batches that go at once for what came back as TooLarge or Resend: each smaller than this one."""
    outcomes = whole.outcomes
    large = [i for i in part if isinstance(outcomes[i], TooLarge)]
    again = [i for i in part if isinstance(outcomes[i], Resend)]
    if again and len(again) == len(part):
        whole.fault = whole.fault or _ONLY_RESEND
        for i in part:
            outcomes[i] = TryAgain(_ONLY_RESEND)
        return []
    if not large:
        return [again] if again else []
    if len(part) == 1:
        told = outcomes[part[0]]
        assert isinstance(told, TooLarge)
        outcomes[part[0]] = BadEvent(told.reason, told.status, told.request, told.answer)
        return []
    if len(large) > 1:
        size = sum(len(items[i].line) for i in large)
        whole.too_large = size if whole.too_large is None else min(whole.too_large, size)
    left = sorted(large + again)
    half = (len(left) + 1) // 2
    return [piece for piece in (left[:half], left[half:]) if piece]


def _away(outcomes: Sequence[Outcome]) -> Outcome | None:
    """What holds the rest of a batch: the vendor takes nothing more at present. None: it goes on."""
    for outcome in outcomes:
        if isinstance(outcome, Misconfigured):
            return outcome
        if isinstance(outcome, RateLimited) and outcome.scope == "destination":
            return outcome
    return HELD if all(isinstance(outcome, TryAgain) for outcome in outcomes) else None


async def _call(
    deliver: Deliver, items: Sequence[Item], attempt: int, share: float, clock: Clock, mask: Mask
) -> Sent:
    at_ms, begun = clock.now_ms(), clock.monotonic()
    try:
        with anyio.fail_after(LONGEST_CALL):
            answer = await deliver(Batch([_event(item) for item in items], attempt, share))
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
    sent.outcomes = _all_masked(sent.outcomes, mask)
    sent.attempts = _journal(items, sent.outcomes, attempt, at_ms, clock.monotonic() - begun)
    return sent


def _event(item: Item) -> Event:
    event = Event(item.line)
    event.lane = item.key
    if item.options is not None:
        event.options = Section(item.options)
    return event


def _answered(answer: Any, events: int) -> Sent:
    """What `deliver` returned, checked: a destination that miscounts must not lose an event."""
    if isinstance(answer, Sequence) and len(answer) == events:
        if all(isinstance(outcome, OUTCOMES) for outcome in answer):
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


def _all_masked(outcomes: Sequence[Outcome], mask: Mask) -> list[Outcome]:
    out: list[Outcome] = []
    before: Outcome | None = None
    masked: Outcome = HELD
    for outcome in outcomes:
        if outcome is not before:
            before, masked = outcome, _masked(outcome, mask)
        out.append(masked)
    return out


def _masked(outcome: Outcome, mask: Mask) -> Outcome:
    match outcome:
        case Delivered() | Skipped():
            return outcome
        case BadEvent() | TooLarge():
            return msgspec.structs.replace(
                outcome,
                reason=mask(outcome.reason),
                request=mask(outcome.request),
                answer=mask(outcome.answer),
            )
        case TryAgain() | RateLimited() | Resend() | Misconfigured():
            return msgspec.structs.replace(outcome, reason=mask(outcome.reason), answer=mask(outcome.answer))


def _journal(
    items: Sequence[Item], outcomes: Sequence[Outcome], attempt: int, at_ms: int, seconds: float
) -> list[Attempt]:
    """One row for each different outcome; none for what was not sent at all."""
    alike: dict[tuple[str, int | None, str, str], list[Item]] = {}
    unsent: list[Item] = []
    before: Outcome | None = None
    members = unsent
    for item, outcome in zip(items, outcomes, strict=True):
        if outcome is not before:  # mostly all have the same one
            before = outcome
            held = isinstance(outcome, TryAgain) and not outcome.sent
            members = unsent if held else alike.setdefault(_shown(outcome), [])
        members.append(item)
    rows = []
    for (kind, status, reason, answer), members in alike.items():
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
                outcome=kind,
                status=status,
                reason=reason,
                answer=answer,
            )
        )
    return rows


def _shown(outcome: Outcome) -> tuple[str, int | None, str, str]:
    """Class, status, reason and the beginning of the answer, as the journal has them."""
    match outcome:
        case Delivered(status):
            return outcome.kind, status, "", ""
        case Skipped(code):
            return outcome.kind, None, code, ""
        case _:
            return outcome.kind, outcome.status, outcome.reason, outcome.answer[:LONGEST_ANSWER]
