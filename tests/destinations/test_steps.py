"""Several requests of one batch: as few as may be, nobody's later event before an earlier one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpd.destinations.outcome import (
    BadCredentials,
    BadEvent,
    Delivered,
    Outcome,
    RateLimited,
    TooLarge,
    TryAgain,
)
from cdpd.destinations.steps import HELD, Entry, plan, run_steps


def entries(*pairs: tuple[str, str | None], most: int = 10, most_bytes: int = 1000) -> list[Entry]:
    return [Entry(key, user, 10, 1, most, most_bytes) for key, user in pairs]


def test_entries_with_one_key_share_a_request() -> None:
    steps = plan(entries(("track", "a"), ("track", "b"), ("page", "a"), ("track", "b")))
    assert [step.places for step in steps] == [[0, 1, 3], [2]]
    assert steps[1].after == {0}


def test_a_users_later_entry_does_not_join_an_earlier_request() -> None:
    steps = plan(entries(("track", "a"), ("identify", "a"), ("track", "a"), ("track", "b")))
    assert [step.places for step in steps] == [[0], [1], [2, 3]]
    assert [step.after for step in steps] == [set(), {0}, {1}]


def test_requests_keep_their_limits() -> None:
    assert [step.places for step in plan(entries(*[("k", None)] * 5, most=2))] == [[0, 1], [2, 3], [4]]
    assert [step.places for step in plan(entries(*[("k", None)] * 3, most_bytes=20))] == [[0, 1], [2]]
    assert [step.places for step in plan(entries(("k", None), most_bytes=5))] == [[0]]


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["a", "b", "c", None])), max_size=30),
    st.integers(1, 4),
)
@settings(deadline=None)  # a busy machine is no fault
def test_a_plan_holds_everything_once_within_limits_and_order(
    pairs: list[tuple[str, str | None]], most: int
) -> None:
    steps = plan(entries(*pairs, most=most))
    assert sorted(place for step in steps for place in step.places) == list(range(len(pairs)))
    where = {place: number for number, step in enumerate(steps) for place in step.places}
    for number, step in enumerate(steps):
        assert len(step.places) <= most
        assert step.places == sorted(step.places)
        assert len({pairs[place][0] for place in step.places}) == 1
        assert all(earlier < number for earlier in step.after)
    for user in "abc":
        its = [where[place] for place, pair in enumerate(pairs) if pair[1] == user]
        assert its == sorted(its)
        for before, after in itertools.pairwise(its):
            assert before == after or before in steps[after].after


class Vendor:
    """Answers by place, Delivered by default; remembers what it was sent, request by request."""

    def __init__(self, **told: Outcome) -> None:
        self.told = {int(place.removeprefix("at")): outcome for place, outcome in told.items()}
        self.requests: list[list[int]] = []
        self.at_work = self.most = 0

    async def __call__(self, places: list[int]) -> Sequence[Outcome]:
        self.requests.append(places)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        await anyio.lowlevel.checkpoint()
        self.at_work -= 1
        return [self.told.get(place, Delivered()) for place in places]


async def run(
    vendor: Vendor, given_: Sequence[Entry], at_once: int = 2, strict: bool = False
) -> list[Outcome]:
    return await run_steps(given_, plan(given_), vendor, at_once=at_once, strict=strict)


async def test_what_is_not_finished_holds_the_same_users_later_entries_and_nobody_elses() -> None:
    vendor = Vendor(at0=TryAgain("busy"))
    told = await run(vendor, entries(("x", "a"), ("x", "b"), ("y", "a"), ("z", "b"), ("z", "a")))
    assert [outcome.kind for outcome in told] == ["retry", "delivered", "retry", "delivered", "retry"]
    assert told[2] is told[4] is HELD
    assert vendor.requests == [[0, 1], [3]]


async def test_a_refused_event_holds_later_ones_only_where_order_is_strict() -> None:
    given_ = entries(("x", ""), ("y", ""))
    assert (await run(Vendor(at0=BadEvent("no")), given_))[1] == Delivered()
    assert (await run(Vendor(at0=BadEvent("no")), given_, strict=True))[1] is HELD


async def test_a_batch_that_is_too_large_holds_what_comes_after_it() -> None:
    assert (await run(Vendor(at0=TooLarge("no")), entries(("x", "a"), ("y", "a"))))[1] is HELD


async def test_no_more_requests_run_at_once_than_allowed() -> None:
    vendor = Vendor()
    await run(vendor, entries(*[("x", None)] * 9, most=1), at_once=3)
    assert vendor.most == 3


async def test_a_vendor_that_is_away_is_not_asked_for_the_whole_batch() -> None:
    vendor = Vendor(**{f"at{place}": TryAgain("away") for place in range(20)})
    told = await run(vendor, entries(*[("x", None)] * 20, most=1), at_once=2)
    assert len(vendor.requests) <= 3
    assert all(outcome.kind == "retry" for outcome in told)


async def test_a_success_in_between_says_that_it_is_there() -> None:
    vendor = Vendor(**{f"at{place}": TryAgain("busy") for place in range(0, 20, 2)})
    await run(vendor, entries(*[("x", None)] * 20, most=1), at_once=2)
    assert len(vendor.requests) == 20


async def test_who_refuses_everybody_is_asked_no_more_but_a_throttled_user_stops_nobody() -> None:
    for outcome in (BadCredentials("wrong key"), RateLimited("slow down")):
        vendor = Vendor(at0=outcome)
        told = await run(vendor, entries(*[("x", None)] * 9, most=1), at_once=1)
        assert vendor.requests == [[0]]
        assert told[1:] == [HELD] * 8
    vendor = Vendor(at0=RateLimited("slow down", scope="user"))
    await run(vendor, entries(*[("x", None)] * 9, most=1), at_once=1)
    assert len(vendor.requests) == 9


async def test_what_is_cancelled_in_the_middle_starts_no_later_request() -> None:
    three = entries(("a", "u"), ("b", "u"), ("c", "u"))
    begun: list[list[int]] = []
    scope = anyio.CancelScope()

    async def send(places: list[int]) -> list[Outcome]:
        begun.append(places)
        scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError

    with scope:
        await run_steps(three, plan(three), send, at_once=8)
    assert scope.cancelled_caught
    assert begun == [[0]]
