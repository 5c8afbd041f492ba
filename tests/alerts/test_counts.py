"""Windows of time, summed from slots of five minutes."""

from __future__ import annotations

from cdpd.alerts.counts import SLOT_MS, Counts

T0 = SLOT_MS * 5_000_000
HOUR = 3600.0


def counts(*at: float) -> Counts:
    """An event at each of these minutes."""
    made = Counts()
    for minutes in at:
        made.add("received", "website", T0 + round(minutes * 60_000), 1)
    return made


def test_a_latest_window_has_all_that_lies_in_it() -> None:
    made = counts(0, 4.9, 5, 60, 62)
    assert made.latest("received", "website", HOUR, T0 + 62 * 60_000) == 5
    assert made.latest("received", "website", HOUR, T0 + 62 * 60_000, within=True) == 3
    assert made.latest("received", "website", HOUR, T0 + 65 * 60_000) == 3
    assert made.latest("received", "app", HOUR, T0) == 0


def test_whole_windows_follow_each_other_without_a_gap() -> None:
    made = counts(-1, 0, 59.9, 60, 119.9, 120, 121)
    now = T0 + 121 * 60_000
    assert made.whole("received", "website", HOUR, now) == 2
    assert made.whole("received", "website", HOUR, now, back=1) == 2
    assert made.whole("received", "website", HOUR, now, back=2) == 1


def test_what_has_changed_is_stored_once_as_it_is() -> None:
    made = counts(0, 1, 6)
    slot = T0 // SLOT_MS
    assert sorted(made.changed()) == [
        ("received", "website", slot, 2),
        ("received", "website", slot + 1, 1),
    ]
    made.stored()
    assert list(made.changed()) == []
    again = Counts([("received", "website", slot, 2)])
    again.add("received", "website", T0, 3)
    assert list(again.changed()) == [("received", "website", slot, 5)]


def test_what_nobody_looks_at_is_forgotten() -> None:
    made = counts(0, 30, 60)
    made.forget_before(T0 + 30 * 60_000)
    assert made.latest("received", "website", 10 * HOUR, T0 + 60 * 60_000) == 2
    made.forget("received")
    assert made.forgotten() == ["received"]
    assert made.latest("received", "website", 10 * HOUR, T0) == 0
    assert list(made.changed()) == []
