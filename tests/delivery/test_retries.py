"""Trying again, waiting as asked, probing, pausing, parking: spec/connections.md §7, ACCEPTANCE 19."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cdpd import metrics as names
from cdpd.delivery.backoff import retry_delay
from cdpd.destinations.contract import Batch, BatchLimits
from cdpd.destinations.outcome import (
    BadEvent,
    Delivered,
    Misconfigured,
    Outcome,
    Skipped,
    TooLarge,
    TryAgain,
)
from tests.delivery.rig import Rig
from tests.delivery.vendor import Reply, vendor

OK = Delivered(200)
DOWN = TryAgain("it answered 503", 503)


def every(outcome: Outcome) -> Any:
    return lambda batch: [outcome] * len(batch.events)


def in_turn(*outcomes: Outcome) -> Any:
    """One outcome a batch; the last for all that follow."""
    left = list(outcomes)
    return lambda batch: [left.pop(0) if len(left) > 1 else left[0]] * len(batch.events)


# -- ACCEPTANCE 19 -----------------------------------------------------------------------------------------


async def test_429_twice_then_200_is_delivered_once_with_two_retries(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with vendor() as it, rig.running(d={"type": "webhook", "url": it.url}):
        it.replies(429, 429, 200)
        await rig.append({})
        await rig.as_time_passes(lambda: rig.low() == 1, longest=10)
        assert it.got == ["m0"] * 3
        assert [request.headers["X-Cdpd-Attempt"] for request in it.requests] == ["1"] * 3, (
            "a rate limit is no try"
        )
    assert rig.metrics.get(names.DELIVERED, "d") == 1
    assert rig.metrics.get(names.RETRIED, "d") == 2


async def test_400_is_parked_after_one_request_and_the_rest_goes_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with vendor() as it, rig.running(d={"type": "webhook", "url": it.url, "ordering": "user"}):
        it.replies(Reply(400, body=b"no such plan"))
        await rig.append({})
        await rig.settle()
        await rig.append({})
        await rig.settle()
        assert it.got == ["m0", "m1"]
        (parked,) = rig.state.parked("d")
    assert parked.message_id == "m0"
    assert json.loads(parked.line)["messageId"] == "m0"
    assert parked.status == 400
    assert parked.reason == "it answered 400 Bad Request: no such plan"
    assert parked.answer == "no such plan"
    assert parked.request.startswith("POST http://127.0.0.1")
    assert '"messageId": "m0"' in parked.request
    assert rig.metrics.get(names.PARKED, "d", "bad_event") == 1


async def test_501_pauses_the_destination_with_nothing_parked(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with vendor() as it, rig.running(d={"type": "webhook", "url": it.url}):
        it.replies(501)
        await rig.append_many(3, users=1)
        await rig.until(lambda: rig.status()["state"] == "paused")
        assert (
            rig.status()["problem"] == "it answered 501 Not Implemented: {}; check the address and the method"
        )
        assert rig.status()["parked"] == 0
        loud = [entry for entry in rig.told if entry["level"] == "error"]
        assert [entry["event"] for entry in loud] == ["the destination is paused; it is probed now and then"]
        await rig.wait(299)
        assert len(it.requests) == 1
        await rig.as_time_passes(lambda: rig.low() == 3, longest=5)
        assert it.got == ["m0", "m0", "m1", "m2"], "one event asks whether it works again"


async def test_500_for_four_hours_still_waits_and_is_delivered_once_it_heals(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    state: list[Outcome] = [TryAgain("it answered 500", 500)]
    rig.scripted(lambda batch: [state[0]] * len(batch.events))
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.as_time_passes(lambda: rig.clock.elapsed > 4 * 3600)
        assert rig.low() == 0
        assert rig.status()["state"] == "retrying"
        assert rig.status()["parked"] == 0
        assert len(rig.batches) < 2000
        state[0] = OK
        await rig.as_time_passes(lambda: rig.low() == 1, longest=30)


async def test_after_retry_for_it_is_parked_with_the_last_code(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(every(TryAgain("it answered 500", 500)))
    async with rig.running(d={"type": "scripted", "retry_for": "4h"}):
        await rig.append({})
        await rig.as_time_passes(lambda: rig.low() == 1)
        assert 4 * 3600 <= rig.clock.elapsed < 4 * 3600 + 60
        (parked,) = rig.state.parked("d")
    assert parked.status == 500
    assert "it answered 500" in parked.reason


# -- back-off ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5)])
def test_the_delay_doubles_from_a_second_to_five_minutes_with_jitter(draw: float, factor: float) -> None:
    delays = [retry_delay(n, lambda: draw) for n in range(1, 14)]
    assert delays == [min(300.0, 2.0**n) * factor for n in range(13)]


async def test_a_healed_vendor_gets_its_events_within_two_seconds(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.random = lambda: 0.999
    state: list[Outcome] = [DOWN]
    rig.scripted(
        lambda batch: [state[0]] * len(batch.events), concurrency=4, limits=BatchLimits(max_events=10)
    )
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(200, users=50)
        await rig.as_time_passes(lambda: rig.clock.elapsed > 300)
        tried = {event.message_id for batch in rig.batches for event in batch.events}
        probes = sum(len(batch.events) == 1 for batch in rig.batches)
        assert len(tried) <= 40 + probes / 5, "while it is away only the first few batches are tried"
        assert probes <= 300
        state[0] = OK
        healed = rig.clock.elapsed
        await rig.as_time_passes(lambda: rig.low() == 200, longest=5)
        assert rig.clock.elapsed - healed <= 2


async def test_probes_are_single_events_and_take_turns(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    def behave(batch: Batch) -> Sequence[Outcome]:
        return [DOWN] * len(batch.events)

    rig.scripted(behave, limits=BatchLimits(max_events=5), concurrency=1)
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(40, users=40)
        await rig.as_time_passes(lambda: rig.clock.elapsed > 60)
    probes = [batch.events[0].message_id for batch in rig.batches if len(batch.events) == 1]
    assert [len(batch.events) for batch in rig.batches[:4]] == [5] * 4
    assert len(set(probes[:20])) >= 15, "every user's event of every group has its turn"
    assert {int(m[1:]) // 5 for m in probes[:20]} >= {0, 1, 2, 3, 4}, "and one that was never tried"


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_honoured_for_the_whole_destination(tmp_path: Path, form: str) -> None:
    rig = Rig(tmp_path)
    at = {"seconds": "90", "date": "Tue, 14 Nov 2023 22:14:50 GMT"}[form]
    date = {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}
    async with vendor() as it, rig.running(d={"type": "webhook", "url": it.url}):
        it.replies(Reply(429, {"Retry-After": at, **date}))
        await rig.append({"userId": "a"})
        await rig.until(lambda: rig.status()["state"] == "retrying")
        await rig.append({"userId": "b"})
        await rig.wait(89.9)
        assert it.got == ["m0"]
        await rig.as_time_passes(lambda: rig.low() == 2, longest=1)


async def test_one_users_failing_event_holds_up_nobody_else(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    def behave(batch: Batch) -> Sequence[Outcome]:
        return [DOWN if event.user_id == "u3" else OK for event in batch.events]

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(50, users=10)
        await rig.until(lambda: rig.metrics.get(names.DELIVERED, "d") == 45)
        cursor = rig.state.cursor("d")
        assert cursor is not None
        assert cursor.low.offset == 3
        finished = {offset for r in cursor.finished for offset in range(r.first, r.end)}
        assert finished == {offset for offset in range(4, 50) if offset % 10 != 3}


async def test_a_batch_that_fails_for_its_content_delays_the_others_by_seconds_at_most(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)

    def behave(batch: Batch) -> Sequence[Outcome]:
        poisoned = any(event.user_id == "u0" for event in batch.events)
        return [DOWN if poisoned else OK] * len(batch.events)

    rig.scripted(behave, limits=BatchLimits(max_events=4))
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(400, users=100)
        await rig.as_time_passes(lambda: rig.metrics.get(names.DELIVERED, "d") >= 380, longest=60)
        assert rig.status()["waiting_to_retry"] > 0


# -- pausing -------------------------------------------------------------------------------------------------


async def test_a_paused_destination_goes_on_at_once_when_its_configuration_is_mended(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with vendor() as it, rig.running(d={"type": "webhook", "url": it.url, "headers": {"A": "wrong"}}):
        it.otherwise = Reply(401)
        await rig.append_many(5)
        await rig.until(lambda: rig.status()["state"] == "paused")
        it.otherwise = Reply(200)
        await rig.delivery.apply(
            rig.config({"d": {"type": "webhook", "url": it.url, "headers": {"A": "right"}}})
        )
        await rig.settle()
        assert rig.status()["state"] == "running"
        assert rig.status()["problem"] is None


async def test_a_reload_also_means_try_now(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(in_turn(Misconfigured("no"), OK))
    config = {"d": {"type": "scripted"}}
    async with rig.running(**config):
        await rig.append({})
        await rig.until(lambda: rig.status()["state"] == "paused")
        await rig.delivery.apply(rig.config(config))
        await rig.settle()
    assert rig.sent == ["m0", "m0"]


async def test_a_destination_may_name_its_own_time_for_the_next_probe(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(in_turn(Misconfigured("folder missing", after=5.0), OK))
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.as_time_passes(lambda: rig.low() == 1, longest=5)


async def test_the_same_trouble_is_told_once_a_minute(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(every(DOWN))
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.as_time_passes(lambda: rig.clock.elapsed > 600)
    told = [entry for entry in rig.told if entry["event"] == "events wait and are tried again"]
    assert 8 <= len(told) <= 11
    assert told[0]["problem"] == "it answered 503 Service Unavailable"


# -- outcomes ------------------------------------------------------------------------------------------------


async def test_in_strict_order_a_refused_event_holds_the_later_ones_until_it_is_taken(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    bad = [True]

    def behave(batch: Batch) -> Sequence[Outcome]:
        return [BadEvent("bad", 400) if bad[0] and event.message_id == "m1" else OK for event in batch.events]

    rig.scripted(behave, limits=BatchLimits(max_events=1))
    async with rig.running(d={"type": "scripted", "ordering": "strict"}):
        await rig.append_many(4, users=4)
        await rig.until(lambda: rig.status()["parked"] == 1)
        assert rig.low() == 1
        await rig.wait(299)
        assert rig.sent == ["m0", "m1"]
        await rig.as_time_passes(lambda: len(rig.sent) == 3, longest=2)
        assert rig.state.parked_count("d") == 1, "once, however often it is refused"
        bad[0] = False
        await rig.as_time_passes(lambda: rig.low() == 4, longest=301)
        assert rig.state.parked_count("d") == 0
    assert rig.sent == ["m0", "m1", "m1", "m1", "m2", "m3"]


async def test_a_parked_event_does_not_hold_its_users_later_ones(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(in_turn(BadEvent("bad", 422), OK), limits=BatchLimits(max_events=1))
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(3, users=1)
        await rig.settle()
        assert [parked.message_id for parked in rig.state.parked("d")] == ["m0"]
    assert rig.sent == ["m0", "m1", "m2"]


async def test_a_batch_that_is_too_large_is_halved_until_it_fits_and_a_single_event_is_parked(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)

    def behave(batch: Batch) -> Sequence[Outcome]:
        fits = sum(len(event.line()) for event in batch.events) <= 1000
        return [OK if fits else TooLarge("it answered 413", 413, "POST", "too much")] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted"}):
        await rig.append(*({"properties": {"x": "x" * (2000 if i == 5 else 10)}} for i in range(12)))
        await rig.settle()
        assert [parked.message_id for parked in rig.state.parked("d")] == ["m5"]
        await rig.until(
            lambda: rig.metrics.get(names.DELIVERED, "d") == 11
        )  # counted a moment after the commit
        before = len(rig.batches)
        await rig.append(*({"properties": {"x": "x" * 10}} for _ in range(4)))
        await rig.settle()
        assert len(rig.batches) - before <= 4, "it has learnt what fits"
    assert rig.clock.elapsed == 0, "all at once, without a wait"


async def test_the_second_half_of_a_large_batch_does_not_overtake_the_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    taken: list[str] = []
    down = [True]

    def behave(batch: Batch) -> Sequence[Outcome]:
        if len(batch.events) > 2:
            return [TooLarge("it answered 413", 413)] * len(batch.events)
        if down[0]:
            down[0] = False
            return [DOWN] * len(batch.events)
        taken.extend(event.message_id for event in batch.events)
        return [OK] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(4, users=1)
        await rig.as_time_passes(lambda: rig.low() == 4, longest=10)
    assert taken == ["m0", "m1", "m2", "m3"]


async def test_skipped_events_are_counted_apart(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(every(Skipped("NO_MATCHING_MAPPING")))
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(3)
        await rig.settle()
    assert rig.metrics.get(names.SKIPPED, "d", "NO_MATCHING_MAPPING") == 3
    assert rig.metrics.get(names.DELIVERED, "d") == 0


@pytest.mark.parametrize(
    "fault", ["raises", "too few", "too many", "nothing", "no outcomes", "exits", "cancels itself"]
)
async def test_a_fault_of_the_destination_is_loud_and_loses_nothing(tmp_path: Path, fault: str) -> None:
    rig = Rig(tmp_path)
    faulty = [True]

    def behave(batch: Batch) -> Any:
        if not faulty[0]:
            return [OK] * len(batch.events)
        match fault:
            case "raises":
                raise KeyError("surprise")
            case "too few":
                return [OK]
            case "too many":
                return [OK] * 9
            case "nothing":
                return None
            case "exits":
                raise SystemExit(1)
            case "no outcomes":
                return ["ok", "ok"]
            case _:
                raise asyncio.CancelledError

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(2)
        await rig.until(lambda: rig.status()["state"] == "retrying")
        (told,) = [entry for entry in rig.told if entry["event"] == "the destination itself failed"]
        assert told["level"] == "error"
        assert told["destination"] == "d"
        if fault == "raises":
            assert "Traceback" in told["exception"]
            assert told["exception"].endswith("\nKeyError"), "its text may quote an event"
            assert rig.status()["problem"] == "KeyError: 'surprise'"
        assert rig.low() == 0
        faulty[0] = False
        await rig.as_time_passes(lambda: rig.low() == 2, longest=10)


async def test_a_line_that_is_no_event_is_parked_and_holds_up_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted"}):
        await rig.append({}, b"[1,2]", {})
        await rig.settle()
        (parked,) = rig.state.parked("d")
    assert parked.line == b"[1,2]"
    assert "no event" in parked.reason
    assert rig.sent == ["m0", "m2"]


async def test_every_attempt_is_in_the_journal(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    def behave(batch: Batch) -> Sequence[Outcome]:
        if batch.attempt == 1:
            return [OK, BadEvent("bad", 400), DOWN, OK][: len(batch.events)]
        return [OK] * len(batch.events)

    rig.scripted(behave, concurrency=1)
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(4, users=4)
        await rig.as_time_passes(lambda: rig.low() == 4)
        rows = rig.state.attempts("d")
    assert [(row.attempt, row.offsets, row.outcome, row.status, row.reason) for row in rows] == [
        (1, "0-1,3-4", "delivered", 200, ""),
        (1, "1-2", "bad_event", 400, "bad"),
        (1, "2-3", "retry", 503, "it answered 503"),
        (2, "2-3", "delivered", 200, ""),
    ]
    assert all(row.bytes > 0 for row in rows)
