"""What each class of outcome does to a destination: waiting, slowing down, pausing, and who is asked how it is.

Source: spec/destinations.md §0.1 and §0.4, spec/connections.md §7.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cdpd import metrics as names
from cdpd.delivery.backoff import pause_delay
from cdpd.destinations.contract import Batch, BatchLimits
from cdpd.destinations.outcome import (
    HELD,
    BadConfig,
    BadCredentials,
    BadEvent,
    Delivered,
    Misconfigured,
    Outcome,
    RateLimited,
    Resend,
    Skipped,
    TryAgain,
)
from tests.delivery.rig import Rig
from tests.delivery.vendor import Reply, vendor

OK = Delivered(200)
DOWN = TryAgain("it answered 503", 503)
LATE = TryAgain("no answer in time (ETIMEDOUT)", code="ETIMEDOUT")
SLOW = RateLimited("it answered 429", 429)


def in_turn(*outcomes: Outcome) -> Callable[[Batch], Any]:
    """One outcome a batch; the last for all that follow."""
    left = list(outcomes)
    return lambda batch: [left.pop(0) if len(left) > 1 else left[0]] * len(batch.events)


def for_user(user: str, outcome: Outcome) -> Callable[[Batch], Any]:
    """A vendor that says so of a whole batch where this user is in it."""
    return lambda batch: [outcome if any(e.user_id == user for e in batch.events) else OK] * len(batch.events)


# -- rate limits ---------------------------------------------------------------------------------------------


async def test_a_rate_limit_without_a_time_is_waited_for_longer_each_time_and_uses_up_no_attempt(
    tmp_path: Path,
) -> None:
    rig, at = Rig(tmp_path), list[float]()

    def behave(batch: Batch) -> Sequence[Outcome]:
        at.append(rig.clock.elapsed)
        return [SLOW if len(at) <= 4 else OK] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.as_time_passes(lambda: rig.low() == 1, longest=20)
        rows = rig.state.attempts("d")
    assert at == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert [batch.attempt for batch in rig.batches] == [1] * 5
    assert [row.outcome for row in rows] == ["rate_limited"] * 4 + ["delivered"]
    assert rig.metrics.get(names.RATE_LIMITED, "d") == rig.metrics.get(names.RETRIED, "d") == 4


async def test_a_rate_limit_holds_everybody_and_what_was_in_flight_does_not_end_it(tmp_path: Path) -> None:
    rig, go = Rig(tmp_path), asyncio.Event()

    async def behave(batch: Batch) -> Sequence[Outcome]:
        if batch.events[0].user_id == "late":
            await go.wait()
            return [OK]
        return [RateLimited("slow down", 429, 60.0) if rig.clock.elapsed < 60 else OK] * len(batch.events)

    rig.scripted(behave, limits=BatchLimits(max_events=1))
    async with rig.running(d={"type": "scripted"}):
        await rig.append({"userId": "late"}, {"userId": "a"}, {"userId": "b"})
        await rig.until(lambda: rig.status()["problem_kind"] == "rate_limited")
        go.set()
        await rig.until(lambda: rig.metrics.get(names.DELIVERED, "d") == 1)
        await rig.wait(59.9)
        assert rig.sent == ["m0", "m1"]
        await rig.as_time_passes(lambda: rig.low() == 3, longest=2)


async def test_a_throttled_user_waits_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    throttled = RateLimited("this user sends too much", 429, 30.0, scope="user")

    def behave(batch: Batch) -> Sequence[Outcome]:
        return [throttled if e.user_id == "u1" and rig.clock.elapsed < 30 else OK for e in batch.events]

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(9, users=3)
        await rig.until(lambda: rig.metrics.get(names.DELIVERED, "d") == 6)
        assert rig.status()["state"] == "running"
        assert rig.status()["concurrency"] == 2, "nobody else is slowed down"
        await rig.append_many(3, users=3)
        await rig.until(lambda: rig.metrics.get(names.DELIVERED, "d") == 8)
        await rig.as_time_passes(lambda: rig.low() == 12, longest=31)
    assert [m for m in rig.sent if m in ("m1", "m4", "m7", "m10")][3:] == ["m1", "m4", "m7", "m10"]
    assert {batch.attempt for batch in rig.batches} == {1}


@pytest.mark.parametrize("too_much", [SLOW, LATE])
async def test_fewer_batches_go_at_once_while_it_is_too_much_and_more_as_it_recovers(
    tmp_path: Path, too_much: Outcome
) -> None:
    rig, busy = Rig(tmp_path), [True]
    rig.scripted(
        lambda batch: [too_much if busy[0] else OK] * len(batch.events),
        concurrency=8,
        limits=BatchLimits(max_events=1),
    )
    async with rig.running(d={"type": "scripted"}):
        assert (rig.status()["concurrency"], rig.status()["most_concurrency"]) == (8, 8)
        await rig.append_many(40, users=40)
        await rig.until(lambda: rig.status()["waiting_to_retry"] and not rig.status()["in_flight"])
        assert rig.status()["concurrency"] == 4, "once for all that were in flight"
        await rig.as_time_passes(lambda: rig.status()["concurrency"] == 1, longest=60)
        busy[0] = False
        await rig.as_time_passes(lambda: rig.low() == 40, longest=300)
        assert rig.status()["concurrency"] > 2
    shares = [batch.share for batch in rig.batches]
    assert shares[0] == 1.0
    assert min(shares) <= 0.125


# -- limits of the configuration -----------------------------------------------------------------------------


async def test_no_more_events_a_second_go_than_is_configured(tmp_path: Path) -> None:
    rig, at = Rig(tmp_path), list[tuple[float, int]]()

    def behave(batch: Batch) -> Sequence[Outcome]:
        at.append((rig.clock.elapsed, len(batch.events)))
        return [OK] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted", "max_events_per_second": 50}):
        await rig.append_many(200, users=200)
        await rig.as_time_passes(lambda: rig.low() == 200, longest=5)
        assert rig.clock.elapsed == pytest.approx(3.9)
        assert max(events for _, events in at) == 5
        await rig.wait(100)
        assert sum(events for _, events in at) == 200, "and while there is nothing nothing happens"


async def test_no_more_batches_a_second_go_than_is_configured(tmp_path: Path) -> None:
    rig, at = Rig(tmp_path), list[tuple[float, int]]()

    def behave(batch: Batch) -> Sequence[Outcome]:
        at.append((rig.clock.elapsed, len(batch.events)))
        return [OK] * len(batch.events)

    rig.scripted(behave, concurrency=4)
    async with rig.running(d={"type": "scripted", "max_requests_per_second": 0.5}):
        await rig.append_many(250, users=250)
        await rig.as_time_passes(lambda: rig.low() == 250, longest=5)
    assert at == [(0.0, 100), (2.0, 100), (4.0, 50)]


async def test_halves_and_what_is_sent_again_at_once_keep_the_rate_too(tmp_path: Path) -> None:
    rig, at = Rig(tmp_path), list[float]()

    def behave(batch: Batch) -> Sequence[Outcome]:
        at.append(rig.clock.elapsed)
        many = len(batch.events) > 1
        return [
            BadEvent("bad", 400) if i == 0 and many else Resend() if many else OK
            for i in range(len(batch.events))
        ]

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted", "max_requests_per_second": 1}):
        await rig.append_many(3, users=3)
        await rig.as_time_passes(lambda: rig.low() == 3, longest=5)
    assert at == [0.0, 1.0, 2.0]


# -- configuration and credentials ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, "bad_credentials", "it answered 401 Unauthorized: {}; check the credentials"),
        (402, "bad_config", "it answered 402 Payment Required: {}; the account wants payment"),
        (501, "bad_config", "it answered 501 Not Implemented: {}; check the address and the method"),
    ],
)
async def test_what_is_wrong_has_its_own_words_and_class(
    tmp_path: Path, status: int, kind: str, says: str
) -> None:
    rig = Rig(tmp_path)
    async with vendor() as it, rig.running(d={"type": "webhook", "url": it.url, "mode": "batch"}):
        it.otherwise = Reply(status)
        await rig.append_many(3)
        await rig.until(lambda: rig.status()["state"] == "paused")
        told = rig.status()
        await rig.until(lambda: rig.state.attempts("d"))
        rows = rig.state.attempts("d")
    assert (told["problem_kind"], told["problem"], told["parked"]) == (kind, says, 0)
    assert {(row.outcome, row.status, row.answer) for row in rows} == {(kind, status, "{}")}


@pytest.mark.parametrize(
    ("wrong", "probes"),
    [
        (BadCredentials("key refused", 401), [300.0, 600.0, 900.0, 1200.0, 1500.0]),
        (BadConfig("no such list", 404), [300.0, 900.0, 2100.0, 4500.0, 8100.0]),
        (Misconfigured("of an older plugin"), [300.0, 900.0, 2100.0, 4500.0, 8100.0]),
    ],
)
async def test_refused_credentials_are_probed_steadily_and_a_wrong_setting_less_and_less(
    tmp_path: Path, wrong: Outcome, probes: list[float]
) -> None:
    rig, at = Rig(tmp_path), list[float]()

    def behave(batch: Batch) -> Sequence[Outcome]:
        at.append(rig.clock.elapsed)
        return [wrong] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(5)
        await rig.as_time_passes(lambda: len(at) == 6)
        assert rig.status()["parked"] == 0
    assert at == [0.0, *probes]
    assert [len(batch.events) for batch in rig.batches] == [5, 1, 1, 1, 1, 1]


def test_a_wrong_setting_is_probed_every_hour_at_least() -> None:
    assert [pause_delay("bad_config", n) for n in (0, 1, 2, 3, 4, 500)] == [300, 600, 1200, 2400, 3600, 3600]


async def test_the_probes_of_a_paused_destination_ask_with_another_users_event_each(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    refused = BadCredentials("no rights on this user", 403)
    rig.scripted(for_user("u0", refused), limits=BatchLimits(max_events=5))
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(5, users=5)
        await rig.as_time_passes(lambda: rig.metrics.get(names.DELIVERED, "d") == 1, longest=601)
    assert rig.sent[5:7] == ["m0", "m1"]


async def test_a_rate_limit_on_a_probe_leaves_it_paused_and_is_waited_for(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(in_turn(BadCredentials("no", 401), RateLimited("slow", 429, 20.0), OK))
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.as_time_passes(lambda: len(rig.batches) == 2, longest=301)
        await rig.until(lambda: not rig.status()["in_flight"])
        assert rig.status()["state"] == "paused"
        await rig.as_time_passes(lambda: rig.low() == 1, longest=20.5)
        assert rig.status()["state"] == "running"


# -- poison: events that the vendor fails on -----------------------------------------------------------------


async def test_one_poisoned_event_is_found_and_its_whole_batch_goes_within_seconds(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(for_user("u7", DOWN))
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(100, users=100)
        await rig.as_time_passes(lambda: rig.metrics.get(names.DELIVERED, "d") == 99, longest=30)
        await rig.append_many(100, users=100)
        await rig.as_time_passes(lambda: rig.metrics.get(names.DELIVERED, "d") == 198, longest=10)
        assert rig.status()["waiting_to_retry"] == 1


async def test_poisoned_events_alone_do_not_keep_a_healed_vendor_away(tmp_path: Path) -> None:
    """The first events of all are poisoned, more than are tried before a success."""
    rig = Rig(tmp_path)
    poisoned = {f"u{i}" for i in range(8)}

    def behave(batch: Batch) -> Sequence[Outcome]:
        return [DOWN if e.user_id in poisoned else OK for e in batch.events]

    rig.scripted(behave, limits=BatchLimits(max_events=1), concurrency=1)
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(100, users=50)
        await rig.as_time_passes(lambda: rig.metrics.get(names.DELIVERED, "d") == 84, longest=60)
        begun = rig.clock.elapsed
        for _ in range(20):
            await rig.append({"userId": "fine"})
            await rig.as_time_passes(
                lambda: rig.metrics.get(names.DELIVERED, "d") == rig.appended - 16, longest=2.1
            )
            await rig.wait(30)
        assert rig.clock.elapsed - begun >= 600, "though the poisoned ones are tried all the time"


async def test_many_poisoned_users_do_not_slow_down_the_others(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    def behave(batch: Batch) -> Sequence[Outcome]:
        poisoned = any(e.user_id.startswith("bad") for e in batch.events)
        return [DOWN if poisoned else OK] * len(batch.events)

    rig.scripted(behave, limits=BatchLimits(max_events=10))
    async with rig.running(d={"type": "scripted"}):
        await rig.append(*({"userId": f"bad{i}" if i % 5 == 0 else f"u{i}"} for i in range(100)))
        await rig.as_time_passes(lambda: rig.metrics.get(names.DELIVERED, "d") == 80, longest=120)
        await rig.as_time_passes(lambda: rig.clock.elapsed > 400)
        for _ in range(5):
            before = rig.clock.elapsed
            await rig.append_many(10, users=10)
            done = rig.metrics.get(names.DELIVERED, "d") + 10
            await rig.as_time_passes(lambda: rig.metrics.get(names.DELIVERED, "d") >= done, longest=2.1)  # noqa: B023 - it is called at once
            assert rig.clock.elapsed - before <= 2


# -- what is no evidence -------------------------------------------------------------------------------------


async def test_skipping_and_giving_up_say_nothing_of_the_vendors_health(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    def behave(batch: Batch) -> Sequence[Outcome]:
        return [Skipped("NOTHING") if e.user_id == "skipped" else DOWN for e in batch.events]

    rig.scripted(behave, limits=BatchLimits(max_events=1), concurrency=1)
    async with rig.running(d={"type": "scripted", "retry_for": "10m"}):
        await rig.append({"userId": "a"}, {"userId": "skipped"}, {"userId": "b"}, {"userId": "skipped"})
        await rig.as_time_passes(lambda: rig.status()["parked"] == 2, longest=1500)
        assert rig.low() == 4
    assert not [entry for entry in rig.told if entry["event"] == "the destination takes events again"]
    assert rig.metrics.get(names.PARKED, "d", "retry") == 2
    assert rig.metrics.get(names.SKIPPED, "d", "NOTHING") == 2


async def test_the_classes_are_counted_as_what_they_are(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(in_turn(SLOW))
    async with rig.running(d={"type": "scripted", "retry_for": "1m"}):
        await rig.append({})
        await rig.as_time_passes(lambda: rig.status()["parked"] == 1, longest=200)
        (parked,) = rig.state.parked("d")
    assert parked.status == 429
    assert rig.metrics.get(names.PARKED, "d", "rate_limited") == 1


async def test_what_was_not_sent_because_of_others_uses_up_no_attempt_and_says_nothing(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    async with vendor() as it, rig.running(d={"type": "webhook", "url": it.url}):
        it.replies(429, 429, 429)
        await rig.append_many(60, users=1)
        await rig.as_time_passes(lambda: rig.low() == 60, longest=20)
        rows = rig.state.attempts("d")
    assert it.got == ["m0"] * 3 + [f"m{i}" for i in range(60)]
    assert {request.headers["X-Cdpd-Attempt"] for request in it.requests} == {"1"}
    assert [(row.outcome, row.events) for row in rows] == [("rate_limited", 1)] * 3 + [("delivered", 60)]
    assert not [entry for entry in rig.told if entry["event"] == "events wait and are tried again"]


async def test_a_destination_that_sends_nothing_and_says_not_why_is_tried_with_a_back_off(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.scripted(in_turn(HELD, HELD, OK))
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.as_time_passes(lambda: rig.low() == 1, longest=10)
        assert rig.clock.elapsed >= 2
