"""A destination's pace: fewer batches at once where it is too much, and so many a second as are allowed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdpd.delivery.bucket import Bucket
from cdpd.delivery.pace import LEAST, Pace
from tests.clock import FakeClock


def test_what_is_too_much_halves_it_once_however_many_batches_were_in_flight() -> None:
    pace = Pace(8, now=0.0)
    assert pace.calls == 8
    for _ in range(5):
        pace.slower(sent_at=1.0, now=2.0)
    assert pace.calls == 4
    pace.slower(sent_at=2.5, now=3.0)
    assert pace.calls == 2


def test_it_never_stops_and_never_goes_beyond_its_most() -> None:
    pace = Pace(4, now=0.0)
    for second in range(20):
        pace.slower(second, second)
    assert (pace.calls, pace.share) == (1, LEAST)
    for _ in range(500):
        pace.faster()
    assert (pace.calls, pace.share) == (4, 1.0)


def test_it_recovers_by_addition_a_sixteenth_a_round() -> None:
    pace = Pace(16, now=0.0)
    pace.slower(0.0, 0.0)
    rounds = 0
    while pace.share < 1:
        for _ in range(pace.calls):
            pace.faster()
        rounds += 1
    assert rounds in (8, 9)


def test_a_bucket_lets_go_what_it_holds_and_then_what_flows_in() -> None:
    bucket = Bucket.full(rate=10.0, capacity=5.0, now=0.0)
    bucket.take(5, 0.0)
    assert bucket.wait(1, 0.0) == 0.1
    assert bucket.wait(1, 0.1) == 0.0
    assert bucket.wait(99, 0.1) == 0.4, "more than it holds goes when it is full"
    bucket.take(25, 0.5)
    assert bucket.wait(1, 0.5) == 2.1, "and leaves a debt"


def test_requests_are_spread_evenly() -> None:
    pace = Pace(4, requests=2.0, now=0.0)
    times, now = [], 0.0
    for _ in range(4):
        now += pace.wait(1, now)
        pace.take(100, now)
        times.append(now)
    assert times == [0.0, 0.5, 1.0, 1.5]


def test_events_go_in_slices_of_a_tenth_of_a_second_or_of_as_long_as_requests_are_apart() -> None:
    assert Pace(1, events=1000.0, now=0.0).room(0.0, 500) == 100
    assert Pace(1, events=1000.0, requests=2.0, now=0.0).room(0.0, 500) == 500
    assert Pace(1, events=1000.0, requests=2.0, now=0.0).room(0.0, 200) == 200
    assert Pace(1, events=0.5, now=0.0).room(0.0, 500) == 1


@given(
    rate=st.floats(0.1, 5000),
    requests=st.none() | st.floats(0.1, 50),
    most=st.integers(1, 500),
    idle=st.lists(st.floats(0, 5), max_size=30),
)
def test_over_any_time_no_more_goes_than_the_rates_say(
    rate: float, requests: float | None, most: int, idle: list[float]
) -> None:
    pace, now, sent = Pace(1, events=rate, requests=requests, now=0.0), 0.0, list[tuple[float, int]]()
    for pause in [*idle, *[0.0] * 20]:
        now += pause
        while wait := pace.wait(1, now):
            now += wait
        events = pace.room(now, most)
        assert 1 <= events <= most
        pace.take(events, now)
        sent.append((now, events))
    slack = max(rate * max(0.1, 1 / requests if requests else 0), 1) + 1
    for first, (begin, _) in enumerate(sent):
        total = 0
        for last in range(first, len(sent)):
            at, events = sent[last]
            total += events
            assert total <= rate * (at - begin) * (1 + 1e-6) + slack
            if requests:
                assert last - first <= requests * (at - begin) * (1 + 1e-6) + 1e-6


async def test_a_turn_is_waited_for_on_the_clock() -> None:
    clock = FakeClock()
    pace = Pace(1, requests=1.0, now=0.0)
    await pace.turn(1, clock)
    assert clock.sleepers == 0
    assert pace.wait(1, clock.monotonic()) == 1.0
