"""What the outcomes of a batch come to: which events are done, which are tried again, what it says of the vendor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct, field

from cdpd.delivery.lanes import Item
from cdpd.destinations.outcome import BadEvent, Delivered, Misconfigured, Outcome, Skipped, TooLarge, TryAgain

TOO_LATE: Final = "it was tried for as long as retry_for says: "
HELD: Final = "a refused event holds the later ones (ordering = strict): "
"""What stands before a destination's own reason."""


class Verdict(Struct):
    """`done` and `again` are all the batch's events, each in one of them, in order."""

    done: list[Item] = field(default_factory=list)
    again: list[Item] = field(default_factory=list)
    delivered: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Code → how many."""
    refused: list[tuple[Item, BadEvent]] = field(default_factory=list)
    """To be parked; with strict order they are in `again` too, since they hold all later ones."""
    tries: list[TryAgain] = field(default_factory=list)
    wrong: Misconfigured | None = None

    @property
    def after(self) -> float | None:
        """Seconds that the vendor asked to wait."""
        return max((outcome.after for outcome in self.tries if outcome.after is not None), default=None)


def verdict(
    items: Sequence[Item], outcomes: Sequence[Outcome], *, strict: bool, too_late: Callable[[Item], bool]
) -> Verdict:
    """too_late: an event that was tried for as long as is configured; it is parked with its last answer."""
    out = Verdict()
    for item, told in zip(items, outcomes, strict=True):
        outcome = told
        if isinstance(outcome, TryAgain) and too_late(item):
            outcome = BadEvent(TOO_LATE + outcome.reason, outcome.status)
        match outcome:
            case Delivered():
                out.delivered += 1
                out.done.append(item)
            case Skipped(code):
                out.skipped[code] = out.skipped.get(code, 0) + 1
                out.done.append(item)
            case BadEvent() if strict:
                out.refused.append((item, outcome))
                out.again.append(item)
                out.wrong = out.wrong or Misconfigured(HELD + outcome.reason, outcome.status)
            case BadEvent():
                out.refused.append((item, outcome))
                out.done.append(item)
            case Misconfigured():
                out.again.append(item)
                out.wrong = out.wrong or outcome
            case TryAgain():
                out.again.append(item)
                out.tries.append(outcome)
            case TooLarge(reason, status):  # `send` has already made others of these
                out.again.append(item)
                out.tries.append(TryAgain(reason, status))
    return out
