"""Delivery as a whole: where destinations begin, isolation, restarts, crashes, changes at run time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from cdpd import metrics as names
from cdpd.delivery import sending
from cdpd.delivery.making import DestinationError
from cdpd.destinations.contract import Batch, BatchLimits
from cdpd.destinations.outcome import Delivered, Outcome
from cdpd.log.segment import segment_bases, segment_path
from tests.delivery.rig import Rig
from tests.delivery.vendor import HANG, RESET, Reply, vendor

OK = Delivered()


def of_user(sent: Sequence[str], user: int, users: int = 10) -> list[str]:
    return [m for m in sent if int(m[1:]) % users == user]


async def test_each_users_events_are_delivered_in_order_and_the_cursor_follows(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(250)
        await rig.settle()
        assert rig.status()["lag_events"] == 0
        assert rig.status()["delivered"] == 250
    assert sorted(rig.sent) == sorted(f"m{i}" for i in range(250))
    for user in range(10):
        assert of_user(rig.sent, user) == [f"m{i}" for i in range(user, 250, 10)]


async def test_strict_order_is_the_logs_order_one_batch_at_a_time(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    flying = most = 0

    async def behave(batch: Batch) -> Sequence[Outcome]:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0)
        flying -= 1
        return [OK] * len(batch.events)

    rig.scripted(behave, concurrency=8)
    async with rig.running(d={"type": "scripted", "ordering": "strict"}):
        await rig.append_many(350)
        await rig.settle()
    assert rig.sent == [f"m{i}" for i in range(350)]
    assert most == 1


async def test_what_arrives_while_a_batch_is_in_flight_makes_the_next(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    go = asyncio.Event()

    async def behave(batch: Batch) -> Sequence[Outcome]:
        await go.wait()
        return [OK] * len(batch.events)

    rig.scripted(behave, concurrency=1)
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.until(lambda: rig.batches)
        for _ in range(5):
            await rig.append({})
        await rig.until(lambda: rig.status()["lag_events"] == 6)
        go.set()
        await rig.settle()
    assert [len(batch.events) for batch in rig.batches] == [1, 5]


async def test_batches_are_bounded_by_the_configuration_within_the_destinations_own_limits(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.scripted(limits=BatchLimits(max_events=50))
    async with rig.running(d={"type": "scripted", "batch": {"max_events": 7}}):
        await rig.append_many(70)
        await rig.settle()
    assert max(len(batch.events) for batch in rig.batches) == 7
    rig.batches.clear()
    async with rig.running(d={"type": "scripted", "batch": {"max_events": 1000}}):
        await rig.append_many(100)
        await rig.settle()
    assert max(len(batch.events) for batch in rig.batches) == 50


# -- where it begins -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "first"), [("now", 20), ("beginning", 0), ("2023-11-14T22:14:20Z", 10), (None, 20)]
)
async def test_a_new_destination_begins_where_it_is_told(
    tmp_path: Path, start: str | None, first: int
) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.open():
        await rig.append_many(10)
        await rig.wait(60)
        await rig.append_many(10)
        async with rig.delivering(d={"type": "scripted", **({} if start is None else {"from": start})}):
            cursor = rig.state.cursor("d")
            assert cursor is not None, "it is committed before the daemon says that it is ready"
            await rig.append_many(5)
            await rig.settle()
    assert sorted(rig.sent, key=lambda m: int(m[1:])) == [f"m{i}" for i in range(first, 25)]


async def test_later_changes_of_from_do_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted", "from": "beginning"}):
        await rig.append_many(3)
        await rig.settle()
    async with rig.running(d={"type": "scripted", "from": "now"}) as _:
        pass
    async with rig.open():
        await rig.append_many(2)
        async with rig.delivering(d={"type": "scripted", "from": "now"}):
            await rig.settle()
    assert sorted(rig.sent) == ["m0", "m1", "m2", "m3", "m4"]


# -- restarts and crashes ------------------------------------------------------------------------------------


async def test_a_stop_lets_what_is_in_flight_end_so_that_nothing_is_sent_twice(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    go = asyncio.Event()

    async def behave(batch: Batch) -> Sequence[Outcome]:
        await go.wait()
        return [OK] * len(batch.events)

    kind = rig.scripted(behave, limits=BatchLimits(max_events=2), concurrency=1)
    async with rig.open():
        async with rig.delivering(d={"type": "scripted"}) as tasks:
            await rig.append_many(6)
            await rig.until(lambda: len(rig.batches) == 1)
            tasks.cancel_scope.cancel()
            asyncio.get_running_loop().call_later(0.05, go.set)
        assert rig.low() == 2
        assert kind.made[0].stopped
    again = Rig(tmp_path, rig.clock)
    again.scripted()
    async with again.running(d={"type": "scripted"}):
        await again.settle()
    assert rig.sent == ["m0", "m1"]
    assert sorted(again.sent) == ["m2", "m3", "m4", "m5"]


async def test_a_destination_that_hangs_gets_ten_seconds_when_it_is_stopped(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def behave(batch: Batch) -> Sequence[Outcome]:
        await anyio.sleep_forever()
        raise AssertionError

    rig.scripted(behave)
    async with rig.open():
        async with rig.delivering(d={"type": "scripted"}) as tasks:
            await rig.append_many(6)
            await rig.until(lambda: rig.batches)
            tasks.cancel_scope.cancel()
            tasks2 = asyncio.ensure_future(
                rig.as_time_passes(lambda: rig.delivery._slots["d"].consumer is None)
            )
        await tasks2
        assert rig.low() == 0
        assert rig.clock.elapsed == 10


async def test_a_crash_between_delivery_and_commit_sends_the_batches_in_flight_again(tmp_path: Path) -> None:
    """At least once: same messageIds, each user's order kept, and no more than what was in flight."""
    rig = Rig(tmp_path)
    kind = rig.scripted(limits=BatchLimits(max_events=10))
    await _crash_after(rig, batches=7)
    first = list(rig.sent)
    rig.batches.clear()
    async with rig.running(d={"type": "scripted"}):
        await rig.settle()
    twice = set(first) & set(rig.sent)
    assert len(first) + len(rig.sent) - len(twice) == 200
    assert 0 < len(twice) <= 10 * kind.concurrency
    for user in range(10):
        order = of_user(list(dict.fromkeys(first + rig.sent)), user)
        assert order == [f"m{i}" for i in range(user, 200, 10)]


async def _crash_after(rig: Rig, batches: int) -> None:
    """Everything stops dead once so many batches were delivered: the later commits never reach the disk."""
    async with rig.open():
        commit = rig.state.commit

        async def dying(moment: Any) -> None:
            if len(rig.batches) >= batches:
                await anyio.sleep_forever()
            await commit(moment)

        rig.state.commit = dying  # type: ignore[method-assign]
        async with rig.delivering(d={"type": "scripted"}) as tasks:
            await rig.append_many(200)
            await rig.until(lambda: len(rig.batches) >= batches and rig.status()["in_flight"] == 2)
            rig.delivery._slots["d"].scope.cancel()
            tasks.cancel_scope.cancel()


async def test_what_is_finished_above_the_mark_is_not_sent_again_after_a_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def behave(batch: Batch) -> Sequence[Outcome]:
        if any(event.user_id == "u0" for event in batch.events):
            await anyio.sleep_forever()
        return [OK] * len(batch.events)

    rig.scripted(behave, limits=BatchLimits(max_events=1))
    async with rig.open(), rig.delivering(d={"type": "scripted"}) as tasks:
        await rig.append(*({"userId": f"u{i}"} for i in range(5)))
        await rig.until(lambda: rig.metrics.get(names.DELIVERED, "d") == 4)
        rig.delivery._slots["d"].scope.cancel()
        tasks.cancel_scope.cancel()
    again = Rig(tmp_path, rig.clock)
    again.scripted()
    async with again.running(d={"type": "scripted"}):
        await again.settle()
    assert again.sent == ["m0"]


# -- isolation -----------------------------------------------------------------------------------------------


async def test_destinations_that_hang_fail_or_raise_hold_up_no_other(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(lambda _: 1 / 0)
    async with vendor() as hanging, vendor() as failing, vendor() as good:
        hanging.otherwise, failing.otherwise = HANG, Reply(500)
        async with rig.running(
            hangs={"type": "webhook", "url": hanging.url},
            fails={"type": "webhook", "url": failing.url, "mode": "batch"},
            raises={"type": "scripted"},
            refused={"type": "webhook", "url": "http://127.0.0.1:9/"},
            good={"type": "webhook", "url": good.url, "mode": "batch"},
        ):
            for _ in range(20):
                await rig.append_many(100)
            await rig.settle("good")
            assert len(set(good.got)) == 2000
            assert {name: rig.low(name) for name in ("hangs", "fails", "raises", "refused")} == {
                "hangs": 0, "fails": 0, "raises": 0, "refused": 0,
            }  # fmt: skip
            assert rig.status("refused")["problem"].startswith("no connection: ")
            assert len(failing.requests) <= 4
            hanging.released.set()


async def test_a_consumers_memory_is_bounded_while_its_vendor_is_away(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def behave(batch: Batch) -> Sequence[Outcome]:
        await anyio.sleep_forever()
        raise AssertionError

    rig.scripted(behave, limits=BatchLimits(max_events=10, max_bytes=10_000), concurrency=1)
    async with rig.running(d={"type": "scripted"}):
        for _ in range(10):
            await rig.append_many(100)
        consumer = rig.delivery._slots["d"].consumer
        assert consumer is not None
        await rig.until(lambda: rig.batches)
        assert consumer._window.events <= 200
        assert consumer._window.bytes <= 100_000
        rig.delivery._slots["d"].scope.cancel()


@pytest.mark.parametrize("reply", [RESET, HANG])
async def test_a_connection_that_is_reset_or_hangs_is_tried_again(tmp_path: Path, reply: Reply) -> None:
    rig = Rig(tmp_path)
    async with vendor() as it, rig.running(d={"type": "webhook", "url": it.url, "timeout": 0.2}):
        it.replies(reply)
        await rig.append({})
        await rig.until(lambda: rig.status()["state"] == "retrying")
        assert rig.status()["problem"].endswith(("(ECONNRESET)", "(ETIMEDOUT)"))
        await rig.as_time_passes(lambda: rig.low() == 1, longest=5)
        assert it.got == ["m0", "m0"]


async def test_damage_stops_that_consumer_loudly_after_what_is_whole_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.open():
        await rig.append_many(5)
        await rig.append_many(5)
        (base,) = segment_bases(rig.events._files, rig.events.folder)
        path = segment_path(rig.events.folder, base)
        data = bytearray(path.read_bytes())
        data[-3] ^= 0xFF
        path.write_bytes(bytes(data))
        async with rig.delivering(d={"type": "scripted", "from": "beginning"}, other={"type": "null"}):
            await rig.until(lambda: rig.status()["state"] == "stopped")
            assert len(rig.sent) == 5
            assert rig.low() == 5
            assert "damaged log" in rig.status()["problem"]
            (told,) = [entry for entry in rig.told if "has stopped" in entry["event"]]
            assert told["level"] == "error"
            assert rig.delivery.needed()["destination d"] == 5
            await rig.append_many(1)
            await rig.settle("other")


async def test_a_cursor_of_another_log_stops_that_consumer_with_what_to_do(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(5)
        await rig.settle()
    for file in (tmp_path / "events").iterdir():
        file.unlink()
    again = Rig(tmp_path, rig.clock)
    again.scripted()
    async with again.running(d={"type": "scripted"}, other={"type": "null"}):
        await again.append_many(9)
        await again.until(lambda: again.status()["state"] == "stopped")
        assert "backup" in again.status()["problem"]
        await again.settle("other")
    assert again.sent == []


async def test_a_commit_that_fails_is_tried_until_it_is_stored(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted"}):
        rig.state._db.execute("pragma query_only = on")
        await rig.append({})
        await rig.until(lambda: any("cannot be stored" in entry["event"] for entry in rig.told))
        rig.state._db.execute("pragma query_only = off")
        await rig.as_time_passes(lambda: rig.low() == 1, longest=5)
    assert rig.sent == ["m0"]


# -- changes at run time -------------------------------------------------------------------------------------


async def test_destinations_are_added_changed_and_removed_while_others_do_not_notice(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    kind = rig.scripted()
    same = {"type": "scripted"}
    async with rig.running(same=same, changed={"type": "scripted", "note": "a"}, gone={"type": "scripted"}):
        await rig.append_many(1)
        for name in ("same", "changed", "gone"):
            await rig.settle(name)
        before = list(kind.made)
        await rig.delivery.apply(
            rig.config(
                {"same": same, "changed": {"type": "scripted", "note": "b"}, "new": {"type": "scripted"}}
            )
        )
        await rig.append_many(1)
        for name in ("same", "changed", "new"):
            await rig.settle(name)
        assert set(rig.delivery.status()) == {"same", "changed", "new"}
        assert rig.low("gone") == 1, "its cursor is kept: it may come back"
        assert set(rig.delivery.needed()) == {"destination same", "destination changed", "destination new"}
    after = kind.made[len(before) :]
    assert [(it.env.name, it.config.note) for it in after] == [("changed", "b"), ("new", "")]
    assert rig.sent.count("m0") == 3
    assert rig.sent.count("m1") == 3


async def test_a_disabled_destination_keeps_its_place_and_its_events(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    on, off = {"type": "scripted"}, {"type": "scripted", "enabled": False}
    async with rig.running(d=on):
        await rig.append({})
        await rig.settle()
        await rig.delivery.apply(rig.config({"d": off}))
        await rig.append({}, {})
        assert rig.status()["state"] == "disabled"
        assert rig.status()["lag_events"] == 2
        assert rig.delivery.needed() == {"destination d": 1}
        await rig.delivery.apply(rig.config({"d": on}))
        await rig.settle()
    assert rig.sent == ["m0", "m1", "m2"]


async def test_a_destination_that_was_never_enabled_has_its_place_from_the_first_day(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted", "enabled": False}):
        await rig.append({})
        await rig.delivery.apply(rig.config({"d": {"type": "scripted"}}))
        await rig.settle()
    assert rig.sent == ["m0"]


async def test_what_cannot_be_made_changes_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted"}):
        for wrong in ({"type": "nowhere"}, {"type": "scripted", "note": 7}):
            with pytest.raises(DestinationError, match=r"destinations\.other"):
                await rig.delivery.apply(rig.config({"other": wrong}))
        await rig.append({})
        await rig.settle()


async def test_a_destination_whose_start_fails_is_started_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    starts = 0

    async def start(self: object) -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise RuntimeError("not yet")

    rig.scripted(start=start)
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.until(lambda: rig.status()["state"] == "stopped")
        assert rig.status()["problem"] == "RuntimeError: not yet"
        await rig.as_time_passes(lambda: rig.low() == 1, longest=10)
    assert starts == 3


async def test_a_cursor_that_moves_only_over_others_events_is_stored_soon(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted", "sources": ["app"]}):
        await rig.append_many(5)
        await rig.as_time_passes(lambda: rig.low() == 5, longest=2)
    assert rig.sent == []


# -- secrets -------------------------------------------------------------------------------------------------


async def test_no_secret_is_kept_or_shown_anywhere(tmp_path: Path) -> None:
    hidden = "s3cr3t/&value"
    rig = Rig(tmp_path)
    config = {
        "type": "webhook",
        "headers": {"Authorization": f"Bearer {hidden}"},
        "shared_secret": "another-s3cr3t",
    }
    async with vendor() as it:
        url = f"{it.url}?api_key=key-in-the-address"
        async with rig.running(d={**config, "url": url}, e={**config, "url": url}):
            echo = f"you said {hidden} and another-s3cr3t s3cr3t%2F%26value".encode()
            it.replies(*[Reply(400, body=echo)] * 2, *[Reply(401, body=echo)] * 2)
            await rig.append({}, {})
            await rig.until(lambda: it.requests and len(it.requests) >= 4)
            await rig.until(lambda: not rig.status("d")["in_flight"] and not rig.status("e")["in_flight"])
            shown = json.dumps([rig.delivery.status(), rig.told], default=str)
            assert it.requests[0].headers["Authorization"] == f"Bearer {hidden}"
    kept = (tmp_path / "state.db").read_bytes()
    assert b"you said" in kept
    for text in (hidden, "s3cr3t%2F%26value", "another-s3cr3t", "key-in-the-address"):
        assert text.encode() not in kept
        assert text not in shown


async def test_a_traceback_with_a_secret_is_masked(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.kinds["webhook"] = type(
        "Leaking",
        (rig.kinds["webhook"],),
        {"deliver": lambda self, _: _raise(self)},
    )
    async with rig.running(
        d={"type": "webhook", "url": "http://127.0.0.1:9/", "headers": {"A": "hush-hush"}}
    ):
        await rig.append({})
        await rig.until(lambda: any("failed" in entry["event"] for entry in rig.told))
        assert "Traceback" in json.dumps(rig.told, default=str)
        assert "hush-hush" not in json.dumps([rig.told, rig.status()], default=str)


def _raise(destination: Any) -> None:
    raise ValueError(f"header {destination.config.headers['A'].reveal()} is wrong")


async def test_a_deliver_that_never_returns_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LONGEST_CALL", 0.05)
    rig = Rig(tmp_path)
    hang = [True]

    async def behave(batch: Batch) -> Sequence[Outcome]:
        if hang[0]:
            await anyio.sleep_forever()
        return [OK] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.until(lambda: rig.status()["state"] == "retrying")
        assert rig.status()["problem"] == "no answer in time (ETIMEDOUT)"
        hang[0] = False
        await rig.as_time_passes(lambda: rig.low() == 1, longest=5)
