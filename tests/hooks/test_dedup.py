"""The `dedup` hook over real streams: what is a duplicate, within the window, through stops and losses."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from cdpd.config.decode import decode
from cdpd.config.model import Config, PipelineConfig
from cdpd.config.shape import check_shape
from cdpd.event import Event
from cdpd.hooks.dedup import Dedup
from cdpd.hooks.seen.store import SeenStore
from cdpd.hookspecs import Discard, hookimpl
from cdpd.log.segment import SUFFIX
from cdpd.metrics import DISCARDED
from cdpd.plugins import Plugin
from tests.clock import FakeClock
from tests.pipeline.rig import CONFIG_ID, Rig, configuration, received_line

HOUR = 3_600_000
TRACK = {"type": "track", "event": "A", "userId": "u"}


def chain(*hooks: str, **options: Any) -> Config:
    return configuration(pipeline={"hooks": list(hooks or ("spec", "dedup"))}, hooks={"dedup": options})


async def receive(rig: Rig, *names: str, **line: Any) -> None:
    """Events with these ids, received now, in one group."""
    line = {"received_at": rig.clock.now_ms(), **line}
    texts = [received_line(TRACK, message_id=name, **line) for name in names]
    await rig.received.append(texts, config_id=CONFIG_ID)


def ids(rig: Rig) -> list[str]:
    return [event["messageId"] for event in rig.stored()]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize(("hours", "comes_through"), [(23, False), (25, True)])
async def test_connections_acceptance_24(
    tmp_path: Path, clock: FakeClock, hours: int, comes_through: bool
) -> None:
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "m")
        await rig.handle_all(chain())
        clock.wall_ms += hours * HOUR
        await receive(rig, "m")
        await rig.handle_all(chain())
        assert ids(rig) == ["m", "m"][: 1 + comes_through]
        assert rig.metrics.get(DISCARDED, "website", "dedup", "duplicate") == 1 - comes_through


async def test_the_window_is_measured_from_the_first_receipt_and_is_exact(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Rig(tmp_path, clock=clock).opened() as rig:
        for milliseconds in (0, HOUR - 1, 1, HOUR - 1, 1):
            clock.wall_ms += milliseconds
            await receive(rig, "m")
            await rig.handle_all(chain(window="1h"))
        assert len(ids(rig)) == 3, "at 0 h, 1 h and 2 h; a millisecond before each was too early"


async def test_the_second_in_one_slice_is_a_duplicate(tmp_path: Path, clock: FakeClock) -> None:
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, *(str(n % 300) for n in range(600)))
        await rig.handle_all(chain())
        assert ids(rig) == [str(n) for n in range(300)]
        assert [line["received"] for line in rig.turned_away()] == list(range(300, 600))


async def test_an_event_discarded_for_its_content_may_come_again_corrected(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Rig(tmp_path, clock=clock).opened() as rig:
        bad = received_line({"type": "track", "userId": "u"}, message_id="m")
        await rig.received.append([bad], config_id=CONFIG_ID)
        await rig.handle_all(chain())
        await receive(rig, "m")
        await rig.handle_all(chain())
        assert ids(rig) == ["m"]


class LateFilter(Plugin):
    """Discards the first time, after dedup has seen it."""

    seen = False

    @hookimpl
    def cdpd_filter(self, event: Event) -> Discard | None:
        if type(self).seen:
            return None
        type(self).seen = True
        return Discard("not_yet")


async def test_an_event_that_a_later_hook_discarded_may_come_again(tmp_path: Path, clock: FakeClock) -> None:
    class Mine(LateFilter):
        pass

    async with Rig(tmp_path, clock=clock).opened() as rig:
        for _ in range(2):
            await receive(rig, "m")
            await rig.handle_all(chain("spec", "dedup", "late"), {"late": Mine})
        assert ids(rig) == ["m"]
        assert rig.codes() == ["not_yet"]


@pytest.mark.parametrize("loss", ["nothing", "the store", "its position", "a table", "the last slice"])
async def test_a_restart_knows_every_id_whatever_became_of_the_store(
    tmp_path: Path, clock: FakeClock, loss: str
) -> None:
    state = tmp_path / "plugins" / "dedup"
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "a", "b")
        await rig.handle_all(chain())
        before = tmp_path / "before"
        shutil.copytree(state, before)
        clock.wall_ms += 60_000
        await receive(rig, "c")
        await rig.handle_all(chain())
    [window] = state.glob("window-*")
    match loss:
        case "the store":
            shutil.rmtree(state)
        case "its position":
            (window / "store").write_bytes(bytes(200))
        case "a table":
            next(window.glob("*.ids")).write_bytes(bytes(8192))
        case "the last slice":
            shutil.rmtree(state)
            shutil.copytree(before, state)
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "c", "b", "a", "d")
        await rig.handle_all(chain())
        assert ids(rig) == ["a", "b", "c", "d"]


async def test_a_store_that_is_made_again_has_the_window_and_no_more(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Rig(tmp_path, clock=clock).opened() as rig:
        for name in ("old", "new"):
            await receive(rig, name)
            await rig.handle_all(chain("spec"))
            clock.wall_ms += 20 * HOUR
        await receive(rig, "old", "new")
        await rig.handle_all(chain())
        assert ids(rig) == ["old", "new", "old"]


async def test_the_store_of_another_log_is_made_again(tmp_path: Path, clock: FakeClock) -> None:
    """As after a restored backup: the archive is older than the store."""
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "a")
        await rig.handle_all(chain())
        await receive(rig, "b")
        await rig.handle_all(chain())
    shutil.rmtree(tmp_path / "log")
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "b", "c")
        await rig.handle_all(chain())
        assert ids(rig) == ["b", "c"], "b is in no archive any more"
        assert rig.told.texts("warning") == ["the store of ids is not of this log; it is made again"]


async def test_a_full_disk_while_the_store_is_made_again_only_puts_it_off(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "a")
        await rig.handle_all(chain())
    shutil.rmtree(tmp_path / "log")
    opened, may_fail = SeenStore.open.__func__, [False, True, False]  # type: ignore[attr-defined]

    def open_store(cls: type[SeenStore], *args: Any) -> SeenStore:
        if may_fail.pop(0):
            raise OSError(errno.ENOSPC, "No space left on device")
        store: SeenStore = opened(cls, *args)
        return store

    monkeypatch.setattr(SeenStore, "open", classmethod(open_store))
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "b", "b")
        with anyio.fail_after(20):  # it would wait for ever
            await rig.handle_all(chain())
        assert ids(rig) == ["b"]
        assert rig.told.texts("error") == ["dedup cannot catch up with events yet"]


async def test_a_retried_event_cannot_double_however_long_ago_it_came_in(
    tmp_path: Path, clock: FakeClock
) -> None:
    long_ago = clock.now_ms() - 30 * 24 * HOUR
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "m", received_at=long_ago, retryOf=5)
        await rig.handle_all(chain())
        await receive(rig, "m", received_at=long_ago, retryOf=5)
        await receive(rig, "m")
        await rig.handle_all(chain())
        assert ids(rig) == ["m"]
        shutil.rmtree(tmp_path / "plugins")
        clock.wall_ms += HOUR
        await receive(rig, "m")
        await rig.handle_all(chain())
        assert ids(rig) == ["m"], "neither after the store was made again"


async def test_events_of_sources_without_it_are_known_when_they_get_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "m")
        await rig.handle_all(chain("spec"))
        await receive(rig, "m", "n")
        await rig.handle_all(chain())
        assert ids(rig) == ["m", "n"]


async def test_a_reload_to_another_window_keeps_what_is_in_it(tmp_path: Path, clock: FakeClock) -> None:
    def folders() -> set[str]:
        return {path.name for path in (tmp_path / "plugins" / "dedup").glob("window-*")}

    async with Rig(tmp_path, clock=clock).opened() as rig:
        before = rig.chains(chain(window="24h"))
        pipeline = rig.pipeline(before)
        await before.startup()
        after = rig.chains(chain(window="2h"), previous=before)
        await after.startup()  # for a while both run, each on files of its own
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipeline.run)
            await receive(rig, "m")
            await rig.until_handled()
            assert folders() == {"window-86400000", "window-7200000"}
            await pipeline.apply(after, CONFIG_ID, PipelineConfig())
            await before.shutdown(keep=after)
            clock.wall_ms += HOUR
            await receive(rig, "m", "n")
            await rig.until_handled()
            tasks.cancel_scope.cancel()
        await after.shutdown()
        assert ids(rig) == ["m", "n"]
        assert folders() == {"window-7200000"}, "what nobody needs any more is gone"


async def test_a_stop_that_cannot_leave_its_mark_is_warned_of_and_loses_no_id(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Rig(tmp_path, clock=clock).opened() as rig:
        chains = rig.chains(chain())
        await chains.startup()
        await receive(rig, "a")
        [window] = (tmp_path / "plugins" / "dedup").glob("window-*")
        (window / "clean.new").mkdir()  # nothing can be written there now
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.pipeline(chains).run)
            await rig.until_handled()
            tasks.cancel_scope.cancel()
        [dedup] = [hook for hook in chains.instances.values() if hook.name == "dedup"]
        dedup.plugin.cdpd_shutdown()
        [warning] = rig.told.texts("warning")
        assert "cannot leave its store as cleanly stopped" in warning
        await receive(rig, "a", "b")
        await rig.handle_all(chain())
        assert ids(rig) == ["a", "b"]


async def test_a_damaged_log_is_told_with_the_ways_out_of_it(tmp_path: Path, clock: FakeClock) -> None:
    async with Rig(tmp_path, clock=clock).opened() as rig:
        await receive(rig, "a")
        await rig.handle_all(chain("spec"))
        [segment] = (tmp_path / "log" / "events").glob(f"*{SUFFIX}")
        whole = segment.read_bytes()
        segment.write_bytes(whole[:-8] + bytes(8))
        chains = rig.chains(chain())
        await chains.startup()
        pipeline = rig.pipeline(chains)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipeline.run)
            await receive(rig, "b")
            while pipeline.status()["state"] != "waiting":
                await anyio.lowlevel.checkpoint()
            reason = pipeline.status()["reason"]
            assert "damaged log" in reason
            assert f"restore {segment.name} from a backup" in reason
            assert "take 'dedup' out of `hooks` in [pipeline]" in reason
            segment.write_bytes(whole)  # the first of the ways out
            await clock.advance(1)
            await rig.until_handled()
            tasks.cancel_scope.cancel()
        await chains.shutdown()
        assert ids(rig) == ["a", "b"]


@pytest.mark.parametrize("window", ["0s", "59s", "701d", "yesterday", "forever"])
def test_a_window_that_cannot_be_is_a_fault_of_the_configuration(window: str) -> None:
    [fault] = check_shape({"window": window}, Dedup.Config, decode)
    assert window in fault.message
