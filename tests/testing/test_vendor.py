"""The kit's vendor misbehaves as it is told, and notes truly what a client cannot know."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from cdpd.destinations.answers import outcome_of
from cdpd.destinations.contract import Batch, Destination, DestinationConfig
from cdpd.destinations.exchange import send
from cdpd.destinations.outcome import Delivered, Misconfigured, Outcome, RateLimited, TryAgain
from cdpd.testing import (
    CUT,
    REDIRECT_LOOP,
    RESET,
    Reply,
    Vendor,
    huge,
    retry_after,
    retry_after_date,
    running_destination,
    running_vendor,
)


class Poster(Destination):
    """Sends each batch as an array."""

    name = "Poster"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        url: str

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        body = b"[" + b",".join(event.line() for event in batch.events) + b"]"
        answer = await send(self.env.http, "POST", self.config.url, data=body, headers={})
        return [outcome_of(answer, self.env.clock.now_ms())] * len(batch.events)


async def outcomes_of(vendor: Vendor, *replies: Reply, **options: Any) -> list[Outcome]:
    """What a destination makes of each of these answers, to an event each."""
    vendor.replies(*replies)
    async with running_destination(Poster, {"url": vendor.url, **options}) as poster:
        return [(await poster.deliver({}))[0] for _ in replies]


@pytest.mark.parametrize(
    "reply",
    [CUT, Reply(length=1000), Reply(length=1)],
    ids=["cut", "shorter than it says", "longer than it says"],
)
async def test_an_answer_that_breaks_off_is_for_events_that_were_taken_and_not_heard(reply: Reply) -> None:
    async with running_vendor() as vendor:
        (outcome,) = await outcomes_of(vendor, reply)
        assert isinstance(outcome, TryAgain)
        assert vendor.took == vendor.unheard == ["m1"]


async def test_an_answer_that_comes_too_late_is_not_heard() -> None:
    async with running_vendor() as vendor:
        outcomes = await outcomes_of(vendor, Reply(delay=60), Reply(), timeout=0.2)
        assert [type(outcome) for outcome in outcomes] == [TryAgain, Delivered]
        assert vendor.took == ["m1", "m2"]
        assert vendor.unheard == ["m1"]


async def test_a_connection_that_is_cut_before_the_answer_took_nothing() -> None:
    async with running_vendor() as vendor:
        (outcome,) = await outcomes_of(vendor, RESET)
        assert isinstance(outcome, TryAgain)
        assert vendor.took == vendor.unheard == []


async def test_odd_answers_are_heard() -> None:
    odd = (huge(), Reply(body=b"{"))
    async with running_vendor() as vendor:
        assert await outcomes_of(vendor, *odd) == [Delivered(200)] * len(odd)
        assert len(vendor.took) == len(odd)
        assert vendor.unheard == []


async def test_a_connection_that_is_closed_unannounced_takes_nothing_twice() -> None:
    async with running_vendor() as vendor:
        outcomes = await outcomes_of(vendor, *[Reply(closes=True)] * 5)
        # Whether the client hears of it before it sends again is chance; what it believes is true in either case.
        assert outcomes[0] == Delivered(200)
        assert len(vendor.took) == outcomes.count(Delivered(200))


async def test_it_asks_to_wait_in_both_forms() -> None:
    async with running_vendor() as vendor:
        outcomes = await outcomes_of(vendor, retry_after(7), retry_after_date(time.time() + 100, 503))
    assert [outcome.status for outcome in outcomes if isinstance(outcome, RateLimited)] == [429, 503]
    assert isinstance(outcomes[0], RateLimited)
    assert outcomes[0].after == 7
    assert isinstance(outcomes[1], RateLimited)
    assert outcomes[1].after


async def test_a_redirect_loop_ends() -> None:
    async with running_vendor() as vendor:
        vendor.otherwise = REDIRECT_LOOP
        async with running_destination(Poster, {"url": vendor.url}) as poster:
            (outcome,) = await poster.deliver({})
        assert isinstance(outcome, Misconfigured)
        assert len(vendor.requests) == 21
        assert vendor.took == []
