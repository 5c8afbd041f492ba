"""What the outcomes of a batch come to: which events are done, which are tried again, what it says of the vendor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

import msgspec
from msgspec import Struct, field

from cdpd.delivery.backoff import MISCONFIGURED_PROBE
from cdpd.delivery.lanes import Item
from cdpd.destinations.outcome import (
    HELD,
    BadEvent,
    Delivered,
    Kind,
    Misconfigured,
    Outcome,
    RateLimited,
    Resend,
    Skipped,
    TooLarge,
    TryAgain,
)

TOO_LATE: Final = "it was tried for as long as retry_for says: "
STRICTLY_HELD: Final = "a refused event holds the later ones (ordering = strict): "
"""What stands before a destination's own reason."""


class Held(Misconfigured, frozen=True, tag="held"):
    """With strict order: an event was refused, and nothing else goes until it is taken."""

    kind: ClassVar[Kind] = "bad_event"


class Refused(Struct, frozen=True):
    """An event to be parked."""

    item: Item
    outcome: BadEvent
    kind: str
    """The class that it is parked for: `bad_event`, or, where it was tried for too long, its last one."""


class Verdict(Struct):
    """`done` and `again` are all the batch's events, each in one of them, in order."""

    done: list[Item] = field(default_factory=list)
    again: list[Item] = field(default_factory=list)
    tried: list[Item] = field(default_factory=list)
    """Those of `again` for whom this was a failed attempt; a rate limit is none."""
    delivered: int = 0
    answered: bool = False
    """The vendor took or refused something: it is there, and knows us."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Code → how many."""
    refused: list[Refused] = field(default_factory=list)
    """To be parked; with strict order they are in `again` too, since they hold all later ones."""
    tries: list[TryAgain] = field(default_factory=list)
    limits: list[RateLimited] = field(default_factory=list)
    """Of the whole destination."""
    slow: list[tuple[Item, RateLimited]] = field(default_factory=list)
    """Of `again`: those whose user alone has to wait."""
    wrong: Misconfigured | None = None

    @property
    def after(self) -> float | None:
        """Seconds that the vendor asked to wait."""
        told: list[TryAgain | RateLimited] = [*self.tries, *self.limits]
        return max((outcome.after for outcome in told if outcome.after is not None), default=None)

    @property
    def too_much(self) -> bool:
        """It was more than the vendor could do."""
        return bool(self.limits) or any(outcome.code == "ETIMEDOUT" for outcome in self.tries)


def verdict(
    items: Sequence[Item], outcomes: Sequence[Outcome], *, strict: bool, too_late: Callable[[Item], bool]
) -> Verdict:
    """too_late: an event that was tried for as long as is configured; it is parked with its last answer."""
    out = Verdict()
    for item, outcome in zip(items, outcomes, strict=True):
        match outcome:
            case Delivered():
                out.delivered += 1
                out.answered = True
                out.done.append(item)
            case Skipped(code):
                out.skipped[code] = out.skipped.get(code, 0) + 1
                out.done.append(item)
            case BadEvent():
                # Refused without a status, a destination may not have asked the vendor at all.
                out.answered = out.answered or outcome.status is not None
                _refuse(out, item, outcome, outcome.kind, strict=strict)
            case Misconfigured():
                out.again.append(item)
                out.tried.append(item)
                out.wrong = out.wrong or outcome
            case TryAgain() if not outcome.sent:
                out.again.append(item)
            case TryAgain():
                out.tries.append(outcome)
                if too_late(item):
                    _refuse(out, item, _given_up(outcome), outcome.kind, strict=strict)
                else:
                    out.again.append(item)
                    out.tried.append(item)
            case RateLimited():
                if outcome.scope == "destination":
                    out.limits.append(outcome)
                if too_late(item):
                    _refuse(out, item, _given_up(outcome), outcome.kind, strict=strict)
                else:
                    out.again.append(item)
                    if outcome.scope == "user":
                        out.slow.append((item, outcome))
            case TooLarge() | Resend():  # `send` has already made others of these
                out.tries.append(TryAgain(outcome.reason, outcome.status, answer=outcome.answer))
                out.again.append(item)
                out.tried.append(item)
    if out.again and not (out.done or out.tried or out.limits or out.slow):
        # Nothing was sent, and nothing says why: the same again at once would go on for ever.
        out.tried, out.tries = list(out.again), [msgspec.structs.replace(HELD, sent=True)]
    return out


def _given_up(outcome: TryAgain | RateLimited) -> BadEvent:
    return BadEvent(TOO_LATE + outcome.reason, outcome.status, answer=outcome.answer)


def _refuse(out: Verdict, item: Item, outcome: BadEvent, kind: str, *, strict: bool) -> None:
    out.refused.append(Refused(item, outcome, kind))
    if strict:
        out.again.append(item)
        out.tried.append(item)
        out.wrong = out.wrong or Held(STRICTLY_HELD + outcome.reason, outcome.status, MISCONFIGURED_PROBE)
    else:
        out.done.append(item)
