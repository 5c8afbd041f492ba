"""Rate limits: what may come, when, and that memory is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdpd.config.rate import Rate, parse_rate
from cdpd.limit import LONGEST, MOST, Limit
from tests.clock import FakeClock


def test_a_periods_count_may_come_at_once_and_then_one_after_each_step() -> None:
    clock = FakeClock()
    limit = Limit(clock.monotonic)
    rate = Rate(3, 30.0)
    assert [limit.take("a", rate) for _ in range(4)] == [None, None, None, 10]
    clock.elapsed = 9.5
    assert limit.take("a", rate) == 1
    clock.elapsed = 10.0
    assert [limit.take("a", rate) for _ in range(2)] == [None, 10]
    assert limit.take("b", rate) is None


def test_nobody_is_told_to_wait_longer_than_clients_listen() -> None:
    limit = Limit(FakeClock().monotonic)
    rate = parse_rate("1/d")
    assert limit.take("a", rate) is None
    assert limit.take("a", rate) == LONGEST


def test_the_number_of_parties_in_memory_is_bounded() -> None:
    limit = Limit(FakeClock().monotonic)
    for number in range(MOST + 1000):
        assert limit.take(str(number), Rate(1, 60.0)) is None
    assert len(limit._over) <= MOST
    assert limit.take(str(MOST + 999), Rate(1, 60.0)) == 60  # those that came last are remembered


@given(
    st.integers(1, 50),
    st.floats(0.1, 100),
    st.lists(st.floats(0, 20), min_size=1, max_size=200),
)
def test_in_no_stretch_of_time_come_more_than_allowed(
    count: int, seconds: float, pauses: list[float]
) -> None:
    clock = FakeClock()
    limit = Limit(clock.monotonic)
    rate = Rate(count, seconds)
    let_in = []
    for pause in pauses:
        clock.elapsed += pause
        if limit.take("a", rate) is None:
            let_in.append(clock.elapsed)
    for i, begin in enumerate(let_in):
        for j in range(i, len(let_in)):
            allowed = count + (let_in[j] - begin) * count / seconds
            assert j - i + 1 <= allowed + 1e-3
