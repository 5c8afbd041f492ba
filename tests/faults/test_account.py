"""The check can fail: forged notes of a loss, a double, a wrong order are found, each for what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import pytest

from tests.faults.account import Balance, Delivered, Line, Sent, Stored, balance

IDS = [f"m{number}" for number in range(10)]


class Notes:
    """A true story: ten sent, m3 discarded, m4 parked, m8 and m9 still in the log."""

    def __init__(self) -> None:
        self.sent = Sent(set(IDS), set(IDS))
        events = [one for one in IDS if one not in ("m3", "m9")]
        self.stored = Stored(
            received=[Line(offset, one) for offset, one in enumerate(IDS)],
            events=[Line(offset, one, user=f"u{int(one[1:]) % 2}") for offset, one in enumerate(events)],
            discarded=[Line(0, "m3", "no_user_anon_id")],
            handled=9,
        )
        self.delivered = Delivered(took=["m0", "m1", "m2", "m5", "m6", "m7"], parked=["m4"], low=7)

    def balance(self, gone: Sequence[str] = ()) -> Balance:
        return balance(self.sent, self.stored, self.delivered, gone=gone)


def test_a_true_story_balances() -> None:
    found = Notes().balance()
    assert found.holds, found.told()
    assert (found.sent, found.acknowledged) == (10, 10)
    assert (found.delivered, found.discarded, found.parked, found.waiting) == (6, 1, 1, 2)
    assert found.acknowledged == found.delivered + found.discarded + found.parked + found.waiting


def never_delivered(notes: Notes) -> None:
    notes.delivered.took = [one for one in notes.delivered.took if one != "m5"]


def cursor_too_far(notes: Notes) -> None:
    notes.delivered.low = 8


def range_too_far(notes: Notes) -> None:
    notes.delivered.finished = [(7, 8)]


def not_stored(notes: Notes) -> None:
    notes.sent.attempted.add("m10")
    notes.sent.acknowledged.add("m10")


def dropped_by_the_pipeline(notes: Notes) -> None:
    notes.stored.handled = 10


def discarded_and_forgotten(notes: Notes) -> None:
    notes.stored.discarded = []


def parked_and_forgotten(notes: Notes) -> None:
    notes.delivered.parked = []


@pytest.mark.parametrize(
    ("forge", "lost"),
    [
        (never_delivered, ["m5"]),
        (cursor_too_far, ["m8"]),
        (range_too_far, ["m8"]),
        (not_stored, ["m10"]),
        (dropped_by_the_pipeline, ["m9"]),
        (discarded_and_forgotten, ["m3"]),
        (parked_and_forgotten, ["m4"]),
    ],
)
def test_a_forged_loss_is_found(forge: Callable[[Notes], None], lost: list[str]) -> None:
    notes = Notes()
    forge(notes)
    found = notes.balance()
    assert found.lost == lost
    assert not found.holds
    assert lost[0] in found.told()
    assert not notes.balance(gone=lost).lost


def delivered_twice(notes: Notes) -> None:
    notes.delivered.took = [*notes.delivered.took, "m6"]


def delivered_and_parked(notes: Notes) -> None:
    notes.delivered.took = ["m0", "m1", "m2", "m4", "m5", "m6", "m7"]


def stored_twice(notes: Notes) -> None:
    notes.stored.events = [*notes.stored.events, Line(8, "m6", user="u0")]


def stored_and_discarded(notes: Notes) -> None:
    notes.stored.discarded = [*notes.stored.discarded, Line(1, "m6", "ip_blocked")]


@pytest.mark.parametrize(
    ("forge", "doubled"),
    [
        (delivered_twice, ["m6"]),
        (delivered_and_parked, ["m4"]),
        (stored_twice, ["m6"]),
        (stored_and_discarded, ["m6"]),
    ],
)
def test_a_forged_double_is_found(forge: Callable[[Notes], None], doubled: list[str]) -> None:
    notes = Notes()
    forge(notes)
    assert notes.balance().doubled == doubled
    assert not notes.balance().holds


@pytest.mark.parametrize("why", ["unheard", "in_flight"])
def test_a_double_is_excused_once_for_each_lost_answer(why: str) -> None:
    notes = Notes()
    notes.delivered.took = [*notes.delivered.took, "m6"]
    notes.delivered = msgspec.structs.replace(notes.delivered, **{why: ["m6"]})
    assert notes.balance().holds
    assert notes.balance().excused == 1
    notes.delivered.took = [*notes.delivered.took, "m6"]
    assert notes.balance().doubled == ["m6"]


def test_a_wrong_order_of_one_user_is_found_but_not_among_users() -> None:
    notes = Notes()
    notes.delivered.took = ["m1", "m0", "m2", "m5", "m6", "m7"]
    assert notes.balance().holds
    notes.delivered.took = ["m2", "m0", "m1", "m5", "m6", "m7"]
    assert notes.balance().disordered == ["m0"]


def test_what_was_refused_may_not_be_stored() -> None:
    notes = Notes()
    notes.sent.acknowledged.discard("m9")
    assert "refused, but stored: m9" in notes.balance().told()
    notes.sent.unanswered = Counter(["m9"])
    assert notes.balance().holds


def test_what_nobody_sent_is_found() -> None:
    notes = Notes()
    notes.delivered.took = [*notes.delivered.took, "m77"]
    assert "nobody sent: m77" in notes.balance().told()


def test_a_content_that_was_changed_is_told() -> None:
    notes = Notes()
    notes.delivered.foreign = ["m5"]
    assert "another content than was sent: m5" in notes.balance().told()


def test_an_event_that_was_sent_again_is_a_duplicate_and_no_double() -> None:
    notes = Notes()
    notes.sent.unanswered = Counter(["m6"])
    notes.stored.received = [*notes.stored.received[:9], Line(9, "m6"), Line(10, "m9")]
    notes.stored.handled = 10
    notes.stored.discarded = [*notes.stored.discarded, Line(1, "m6", "duplicate")]
    found = notes.balance()
    assert found.holds, found.told()
    assert (found.discarded, found.waiting) == (1, 2)
