"""One batch: smaller where that helps, in order all the same, and every call in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from cdpd.delivery.lanes import Item
from cdpd.delivery.mask import Mask
from cdpd.delivery.sending import Sent, send
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import (
    BadCredentials,
    BadEvent,
    Delivered,
    Outcome,
    RateLimited,
    Resend,
    TooLarge,
    TryAgain,
)
from cdpd.event import Position
from cdpd.secret import Secret
from tests.clock import FakeClock

OK, BAD, RESEND, LARGE = Delivered(200), BadEvent("bad", 400), Resend(), TooLarge("too large", 413)
DOWN, SLOW = TryAgain("it answered 503", 503), RateLimited("it answered 429", 429, 7.0)
Says = Callable[[str], Sequence[Outcome]]


def sent(
    users: str, says: Says, *, strict: bool = False, mask: Mask | None = None
) -> tuple[Sent, list[str], list[Batch]]:
    """Events 0, 1 … of these users; `says` gets the numbers of a call's events. Returns what went in each call."""
    calls: list[str] = []
    batches: list[Batch] = []
    items = [
        Item(
            Position(i, 1),
            0,
            b"" if strict else None if user == "-" else user.encode(),
            b'{"messageId":"%d"}' % i,
        )
        for i, user in enumerate(users)
    ]

    async def deliver(batch: Batch) -> Sequence[Outcome]:
        calls.append("".join(event.message_id for event in batch.events))
        batches.append(batch)
        return says(calls[-1])

    result = asyncio.run(send(deliver, items, 3, FakeClock(), mask or Mask(()), strict=strict, share=0.5))
    return result, calls, batches


def bad(which: str, others: Outcome = RESEND) -> Says:
    """A vendor that refuses a batch as a whole where one of these is in it."""

    def says(call: str) -> Sequence[Outcome]:
        spoilt = any(number in which for number in call)
        return [BAD if number in which else others if spoilt else OK for number in call]

    return says


def test_a_batch_that_was_refused_because_of_others_goes_again_at_once_without_them() -> None:
    result, calls, batches = sent("abcd", bad("1"))
    assert calls == ["0123", "023"]
    assert result.outcomes == [OK, BAD, OK, OK]
    assert [batch.attempt for batch in batches] == [3, 3], "which uses up no attempt"
    assert [batch.share for batch in batches] == [0.5, 0.5]
    assert [(row.outcome, row.offsets) for row in result.attempts] == [
        ("resend", "0-1,2-4"),
        ("bad_event", "1-2"),
        ("delivered", "0-1,2-4"),
    ]


def test_bad_events_may_be_named_one_at_a_time() -> None:
    def one_at_a_time(call: str) -> Sequence[Outcome]:
        first = next((number for number in call if number in "02468"), None)
        return [OK if first is None else BAD if number == first else RESEND for number in call]

    result, calls, _ = sent("abcdefghi", one_at_a_time)
    assert calls == ["012345678", "12345678", "1345678", "135678", "13578", "1357"]
    assert result.outcomes == [BAD, OK] * 4 + [BAD]


def test_what_goes_again_does_not_overtake_an_earlier_event_of_the_same_user() -> None:
    def says(call: str) -> Sequence[Outcome]:
        return [DOWN, RESEND, RESEND] if call == "012" else [OK] * len(call)

    result, calls, _ = sent("aab", says)
    assert calls == ["012", "2"]
    assert [outcome.kind for outcome in result.outcomes] == ["retry", "retry", "delivered"]
    result, calls, _ = sent("--b", says)
    assert calls == ["012", "12"], "nobody's events have no order"


def test_in_strict_order_nothing_goes_after_a_refused_event() -> None:
    result, calls, _ = sent("abcd", bad("1"), strict=True)
    assert calls == ["0123", "0"]
    assert [outcome.kind for outcome in result.outcomes] == ["delivered", "bad_event", "retry", "retry"]


def test_in_strict_order_a_single_event_that_is_too_large_holds_the_later_ones() -> None:
    result, calls, _ = sent("abcd", lambda call: [LARGE if "1" in call else OK] * len(call), strict=True)
    assert calls == ["0123", "01", "0", "1"]
    assert [outcome.kind for outcome in result.outcomes] == ["delivered", "bad_event", "retry", "retry"]


def test_a_batch_of_nothing_but_resend_is_a_fault_and_does_not_go_round_and_round() -> None:
    result, calls, _ = sent("abc", lambda call: [RESEND] * len(call))
    assert calls == ["012"]
    assert [outcome.kind for outcome in result.outcomes] == ["retry"] * 3
    assert "Resend for every event" in result.fault


@pytest.mark.parametrize(
    ("answer", "kind"), [(SLOW, "rate_limited"), (BadCredentials("no", 401), "bad_credentials")]
)
def test_where_the_vendor_takes_nothing_more_the_rest_waits_for_the_same_reason(
    answer: Outcome, kind: str
) -> None:
    result, calls, _ = sent("abcd", lambda call: [LARGE if len(call) > 2 else answer] * len(call))
    assert calls == ["0123", "01"]
    assert [outcome.kind for outcome in result.outcomes] == [kind] * 4


def test_the_journal_keeps_the_beginning_of_the_answer_without_secrets() -> None:
    mask = Mask([Secret("hush-hush")])
    result, _, _ = sent(
        "a", lambda _: [TryAgain("no", 503, answer="x" * 495 + "hush-hush and more")], mask=mask
    )
    (row,) = result.attempts
    assert row.answer == "x" * 495 + "••• a"
    assert (row.outcome, row.status, row.reason) == ("retry", 503, "no")
