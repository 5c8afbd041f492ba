"""The pipeline over real streams: what comes out where, failures, waiting, stopping, reloading, pace."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from cdpd.config.model import PipelineConfig
from cdpd.event import BEGINNING, Event, Position, Violation
from cdpd.hookspecs import Discard, Retry, hookimpl
from cdpd.metrics import ACCEPTED, DISCARDED, HOOK_FAILURES, HOOK_SECONDS, NOTED
from cdpd.pipeline.chain import Chains
from cdpd.pipeline.pipeline import Pipeline
from cdpd.plugins import Plugin, Source
from tests.clock import FakeClock
from tests.pipeline.rig import CONFIG_ID, Rig, configuration, lines, received_line

TRACK = {"type": "track", "event": "A", "userId": "u"}


def only(*hooks: str, **tables: Any) -> Any:
    return configuration(pipeline={"hooks": list(hooks)}, **tables)


async def append(rig: Rig, count: int, start: int = 0, **line: Any) -> None:
    """Events with the ids `start` …, in one group."""
    texts = [received_line({**TRACK, "messageId": str(n)}, **line) for n in range(start, start + count)]
    await rig.received.append(texts, config_id=CONFIG_ID)


def ids(rig: Rig) -> list[str]:
    return [event["messageId"] for event in rig.stored()]


@asynccontextmanager
async def running(rig: Rig, chains: Chains, options: PipelineConfig | None = None) -> AsyncIterator[Pipeline]:
    await chains.startup()
    pipeline = rig.pipeline(chains, options)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pipeline.run)
        yield pipeline
        tasks.cancel_scope.cancel()
    await chains.shutdown()


async def until(rig: Rig, pipeline: Pipeline, state: str) -> dict[str, Any]:
    """The status, once it has that state."""
    assert isinstance(rig.clock, FakeClock)
    for _ in range(20_000):
        if pipeline.status()["state"] == state:
            return pipeline.status()
        await checkpoint()
    raise AssertionError(f"never {state}: {pipeline.status()}")


# -- what goes where


async def test_an_event_goes_to_events_flat_with_its_source_and_origin(rig: Rig) -> None:
    await rig.received.append(
        [received_line({**TRACK, "projectId": "forged", "n": 1}, message_id="m1")], config_id=CONFIG_ID
    )
    await rig.handle_all(only())
    assert lines(rig.events) == [
        b'{"type":"track","event":"A","userId":"u","projectId":"website","n":1,"messageId":"m1"}'
    ]
    piece = rig.events.reader(BEGINNING).read()
    assert piece is not None
    [frame] = piece.frames
    assert list(frame.origins or ()) == [0]
    assert frame.config_id == CONFIG_ID
    assert rig.metrics.get(ACCEPTED, "website") == 1


async def test_log_times_are_carried_over_and_a_frame_names_both_positions(rig: Rig) -> None:
    assert isinstance(rig.clock, FakeClock)
    await append(rig, 2)
    first = rig.clock.now_ms()
    rig.clock.wall_ms += 5000
    await append(rig, 1, start=2, source="gone")
    rig.clock.wall_ms += 99_000
    await rig.handle_all(only())
    piece = rig.events.reader(BEGINNING).read()
    assert piece is not None
    [frame] = piece.frames
    assert (frame.first_ms, frame.last_ms) == (first, first + 5000)
    assert frame.cursor is not None
    assert frame.cursor.received == rig.received.end
    assert frame.cursor.discarded == rig.discarded.end.offset == 1


async def test_output_keeps_the_order_of_received_over_sources_and_slices(rig: Rig) -> None:
    sources = {name: {"write_keys": [name]} for name in ("a", "b", "c")}
    texts = [received_line({**TRACK, "messageId": str(n)}, source="abc"[n * n % 3]) for n in range(2500)]
    for start in range(0, 2500, 300):
        await rig.received.append(texts[start : start + 300], config_id=CONFIG_ID)
    await rig.handle_all(only("spec", "dedup", sources=sources))
    assert ids(rig) == [str(n) for n in range(2500)]


async def test_the_lines_of_a_source_that_is_not_configured_any_more_are_kept_in_discarded(rig: Rig) -> None:
    await append(rig, 1, source="gone")
    await rig.handle_all(only())
    [line] = rig.turned_away()
    assert (line["by"], line["code"], line["received"]) == ("pipeline", "source_removed", 0)
    assert line["line"]["event"]["messageId"] == "0"
    assert "'gone'" in line["message"]


async def test_what_ingest_rejected_goes_to_discarded_with_its_code(rig: Rig) -> None:
    whole = received_line(TRACK, message_id="m", reject="event_too_large")
    via = {"path": "/v1/batch", "ip": ""}
    head = {"receivedAt": "2024-03-05T12:00:05.300Z", "source": "website", "messageId": "x", "via": via}
    raw = msgspec.json.encode({**head, "reject": "too_deep", "raw": '{"a":[[['})
    number = msgspec.json.encode({**head, "reject": "event_not_object", "event": 7})
    await rig.received.append([whole, raw, number], config_id=CONFIG_ID)
    await rig.handle_all()
    assert [(line["by"], line["code"]) for line in rig.turned_away()] == [
        ("ingest", "event_too_large"),
        ("ingest", "too_deep"),
        ("ingest", "event_not_object"),
    ]
    assert rig.turned_away()[1]["line"]["raw"] == '{"a":[[['
    assert rig.metrics.get(DISCARDED, "website", "ingest", "too_deep") == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"no json", {"raw": "no json"}),
        (b'"text"', "text"),
        (b'{"source":"website"}', {"source": "website"}),
        (b'{"source":"website","bytes":"\xff"}', {"raw": '{"source":"website","bytes":"\ufffd"}'}),
    ],
)
async def test_a_line_that_cannot_be_decoded_costs_nobody_else_anything(
    rig: Rig, text: bytes, kept: Any
) -> None:
    await rig.received.append(
        [received_line(TRACK, message_id="a"), text, received_line(TRACK, message_id="b")],
        config_id=CONFIG_ID,
    )
    await rig.handle_all()
    assert ids(rig) == ["a", "b"]
    [line] = rig.turned_away()
    assert (line["by"], line["code"], line["received"]) == ("pipeline", "undecodable", 1)
    assert line["line"] == kept


async def test_a_receivedAt_that_is_no_time_makes_a_line_undecodable(rig: Rig) -> None:
    await append(rig, 1, received_at="soon")
    await rig.handle_all()
    assert rig.codes() == ["undecodable"]


async def test_a_sentAt_that_no_number_holds_costs_no_event(rig: Rig) -> None:
    text = received_line(TRACK, message_id="m", sentAt=7).replace(b'"sentAt":7', b'"sentAt":1e999')
    await rig.received.append([text], config_id=CONFIG_ID)
    await rig.handle_all()
    assert ids(rig) == ["m"]
    assert rig.metrics.get(NOTED, "timestamp_invalid") == 1


async def test_a_slice_that_is_discarded_whole_moves_the_cursor(rig: Rig) -> None:
    await append(rig, 700, source="gone")
    await rig.handle_all()
    assert rig.stored() == []
    assert rig.events.cursor is not None
    assert rig.events.cursor.received.offset == 700
    await append(rig, 1)
    await rig.handle_all()
    assert ids(rig) == ["0"]
    assert len(rig.turned_away()) == 700


class Forgetful(Plugin):
    """Suppresses the person "secret", without a trace."""

    @hookimpl
    def cdpd_filter(self, event: Event) -> Discard | None:
        return Discard("suppressed", record=False) if event.user_id == "secret" else None


async def test_an_event_that_leaves_no_trace_is_only_counted(rig: Rig) -> None:
    await rig.received.append(
        [received_line({**TRACK, "userId": "secret"}), received_line(TRACK, message_id="m")],
        config_id=CONFIG_ID,
    )
    await rig.handle_all(only("forgetful"), {"forgetful": Forgetful})
    assert rig.turned_away() == []
    assert ids(rig) == ["m"]
    assert rig.metrics.get(DISCARDED, "website", "forgetful", "suppressed") == 1


class Meddler(Plugin):
    """Tries what a hook may not do, or must not get away with."""

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        match event.event:
            case "id":
                event["messageId"] = "other"
            case "raw id":
                event.put_raw("messageId", msgspec.Raw(b'"other"'))
            case "fields":
                event.put_raw_fields({})
            case "delete":
                del event["messageId"]
            case "nested":
                event.section("messageId")["x"] = 1
            case "project":
                event["projectId"] = "other"
            case "lines":
                event.put_raw("properties", msgspec.Raw(b'{"a":\n\n1.10}'))


@pytest.mark.parametrize("name", ["id", "raw id", "fields", "delete", "nested"])
async def test_no_hook_changes_a_messageId(rig: Rig, name: str) -> None:
    await rig.received.append([received_line({**TRACK, "event": name}, message_id="m")], config_id=CONFIG_ID)
    await rig.handle_all(only("meddler"), {"meddler": Meddler})
    assert rig.stored() == []
    [line] = rig.turned_away()
    assert line["code"] == "hook_error"
    assert "messageId is given at ingest" in line["message"]
    assert line["line"]["messageId"] == "m"


async def test_a_hook_changes_neither_the_source_nor_the_number_of_lines(rig: Rig) -> None:
    await rig.received.append(
        [received_line({**TRACK, "event": name}, message_id=name) for name in ("project", "lines")],
        config_id=CONFIG_ID,
    )
    await rig.handle_all(only("meddler"), {"meddler": Meddler})
    project, broken = lines(rig.events)
    assert msgspec.json.decode(project)["projectId"] == "website"
    assert b'"properties":{"a":1.10}' in broken


# -- failures


class Picky(Plugin):
    """Fails for what it is told to: a hook, and the ids."""

    fails = ""
    at: frozenset[str] = frozenset()
    calls: ClassVar[list[str]] = []

    def may_fail(self, hook: str, *events: Event) -> None:
        if self.fails == hook and any(event.message_id in self.at for event in events):
            raise ValueError(f"cannot stand {' '.join(e.message_id for e in events)} \ud800")

    @hookimpl
    def cdpd_prepare(self, events: Sequence[Event]) -> None:
        self.calls.append(f"prepare {len(events)}")
        self.may_fail("prepare", *events)

    @hookimpl
    def cdpd_validate(self, event: Event) -> Any:
        self.may_fail("validate", event)
        if self.fails == "generator":
            return (violation for violation in self.later(event))
        return 7 if self.fails == "violation" and event.message_id in self.at else None

    def later(self, event: Event) -> Any:
        if event.message_id in self.at:
            raise ValueError("later")
        yield Violation("picky", "odd", "it is odd")

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        self.may_fail("enrich", event)

    @hookimpl
    def cdpd_filter(self, event: Event) -> Any:
        self.may_fail("filter", event)
        return "drop it" if self.fails == "discard" and event.message_id in self.at else None

    @hookimpl
    def cdpd_committed(self, events: Sequence[Event], position: Position) -> None:
        self.may_fail("committed", *events)


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> type[Picky]:
    class Fresh(Picky):
        calls: ClassVar[list[str]] = []

    return Fresh


@pytest.mark.parametrize(
    "hook", ["prepare", "validate", "generator", "violation", "enrich", "filter", "discard"]
)
async def test_a_failing_hook_costs_only_its_event(rig: Rig, picky: type[Picky], hook: str) -> None:
    picky.fails, picky.at = hook, frozenset(("3", "4"))
    await append(rig, 8)
    await rig.handle_all(only("picky"), {"picky": picky})
    assert ids(rig) == ["0", "1", "2", "5", "6", "7"]
    away = rig.turned_away()
    assert [(line["by"], line["code"], line["received"]) for line in away] == [
        ("picky", "hook_error", 3),
        ("picky", "hook_error", 4),
    ]
    assert "Traceback" in away[0]["traceback"]
    assert rig.metrics.get(HOOK_FAILURES, "picky") == 2
    assert rig.metrics.get(DISCARDED, "website", "picky", "hook_error") == 2
    assert rig.told.texts("warning") == ["a hook failed; the event went to discarded"], "not one for each"


async def cancelled_future() -> None:
    """What a library does that cancels a future of its own and waits for it."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


def exits() -> None:
    sys.exit(3)


def cancels() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("hook", ["prepare", "validate", "enrich", "filter", "committed"])
@pytest.mark.parametrize(("end", "reason"), [(exits, "SystemExit: 3"), (cancels, "CancelledError: ")])
async def test_a_hook_that_exits_or_cancels_itself_only_fails(
    rig: Rig, hook: str, end: Callable[[], None], reason: str
) -> None:
    class Ending(Plugin):
        def may_end(self, where: str, *events: Event) -> None:
            if hook == where and any(event.message_id == "1" for event in events):
                end()

        @hookimpl
        async def cdpd_prepare(self, events: Sequence[Event]) -> None:
            await checkpoint()
            if end is cancels and hook == "prepare" and any(event.message_id == "1" for event in events):
                await cancelled_future()
            self.may_end("prepare", *events)

        @hookimpl
        def cdpd_validate(self, event: Event) -> None:
            self.may_end("validate", event)

        @hookimpl
        def cdpd_enrich(self, event: Event) -> None:
            self.may_end("enrich", event)

        @hookimpl
        def cdpd_filter(self, event: Event) -> None:
            self.may_end("filter", event)

        @hookimpl
        def cdpd_committed(self, events: Sequence[Event]) -> None:
            self.may_end("committed", *events)

    with anyio.fail_after(20):  # it would hang, or end the process
        async with running(rig, rig.chains(only("ending"), {"ending": Ending})) as pipeline:
            for start in (0, 3):
                await append(rig, 3, start=start)
                await rig.until_handled()
            assert pipeline.status()["state"] == "running"
    assert rig.metrics.get(HOOK_FAILURES, "ending") == 1
    if hook == "committed":
        assert ids(rig) == ["0", "1", "2", "3", "4", "5"]
        assert rig.told.texts("warning") == ["cdpd_committed of a hook failed"]
    else:
        assert ids(rig) == ["0", "2", "3", "4", "5"]
        [away] = rig.turned_away()
        assert (away["by"], away["code"], away["message"]) == ("ending", "hook_error", reason)
        assert "Traceback" in away["traceback"]


async def test_a_failed_prepare_is_narrowed_down_by_halves(rig: Rig, picky: type[Picky]) -> None:
    picky.fails, picky.at = "prepare", frozenset("5")
    await append(rig, 64)
    await rig.handle_all(only("picky"), {"picky": picky})
    assert len(ids(rig)) == 63
    assert len(picky.calls) == 13  # 64, then two halves of each failing part: 32, 32, 16, 16 …


async def test_a_failing_committed_costs_nothing(rig: Rig, picky: type[Picky]) -> None:
    picky.fails, picky.at = "committed", frozenset("0")
    await append(rig, 2)
    await rig.handle_all(only("picky"), {"picky": picky})
    assert ids(rig) == ["0", "1"]
    assert rig.told.texts("warning") == ["cdpd_committed of a hook failed"]


async def test_many_failures_in_a_row_stop_the_pipeline_until_a_reload(rig: Rig, picky: type[Picky]) -> None:
    picky.fails, picky.at = "filter", frozenset(map(str, range(10, 40)))
    options = PipelineConfig(stop_after_failures=20)
    config = only("picky")
    await append(rig, 5)
    async with running(rig, rig.chains(config, {"picky": picky}), options) as pipeline:
        await rig.until_handled()
        await append(rig, 35, start=5)
        status = await until(rig, pipeline, "stopped")
        assert "picky failed 20 times in a row; the last: ValueError: cannot stand 29" in status["reason"]
        assert status["behind"] == 35
        assert ids(rig) == [str(n) for n in range(5)]
        assert rig.turned_away() == [], "nothing of the slice was poured into discarded"
        assert rig.told.texts("error") == [
            "the pipeline is stopped: a hook fails for every event; mend it, then `cdpd reload` or restart"
        ]
        picky.fails = ""
        await pipeline.apply(rig.chains(config, {"picky": picky}), CONFIG_ID, options)
        await rig.until_handled()
        assert pipeline.status()["state"] == "running"
    assert ids(rig) == [str(n) for n in range(40)]


async def test_failures_in_a_row_are_counted_over_slices_and_a_success_ends_the_row(
    rig: Rig, picky: type[Picky]
) -> None:
    picky.fails, picky.at = "filter", frozenset(map(str, range(100))) - {"15"}
    options = PipelineConfig(stop_after_failures=20)
    async with running(rig, rig.chains(only("picky"), {"picky": picky}), options) as pipeline:
        for start in range(0, 34, 2):
            await append(rig, 2, start=start)
            await rig.until_handled()
        await append(rig, 10, start=34)
        await until(rig, pipeline, "stopped")
        assert ids(rig) == ["15"]


class Later(Plugin):
    """Cannot say yet; may be told that it can."""

    ready = False
    asked = 0

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        event["touched"] = event.get("touched", 0) + 1

    @hookimpl
    def cdpd_filter(self, event: Event) -> None:
        type(self).asked += 1
        if not self.ready and event.message_id == "1":
            raise Retry("the service is down")


async def test_the_status_tells_for_how_long_the_oldest_event_has_waited(rig: Rig) -> None:
    class Mine(Later):
        pass

    assert isinstance(rig.clock, FakeClock)
    await append(rig, 3)
    async with running(rig, rig.chains(only("later"), {"later": Mine})) as pipeline:
        status = await until(rig, pipeline, "waiting")
        assert (status["behind"], status["behind_seconds"]) == (3, 0.0)
        await rig.clock.advance(0.25)
        assert pipeline.status()["behind_seconds"] == 0.25
        Mine.ready = True
        while pipeline.status()["behind"]:
            await rig.clock.advance(rig.clock.next_wake or 0)
            await checkpoint()
        rig.clock.wall_ms += 60_000
        assert pipeline.status()["behind_seconds"] == 0.0


async def test_a_hook_that_asks_for_it_is_asked_again_with_growing_waits_loudly(rig: Rig) -> None:
    class Mine(Later):
        pass

    assert isinstance(rig.clock, FakeClock)
    await append(rig, 3)
    async with running(rig, rig.chains(only("later"), {"later": Mine})) as pipeline:
        status = await until(rig, pipeline, "waiting")
        assert status["reason"] == "later: the service is down"
        waits = []
        for _ in range(9):
            while rig.clock.next_wake is None:
                await checkpoint()
            waits.append(rig.clock.next_wake)
            await rig.clock.advance(rig.clock.next_wake)
        assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
        assert len(rig.told.texts("warning")) >= 9
        assert ids(rig) == []
        Mine.ready = True
        while rig.clock.next_wake is None:
            await checkpoint()
        await rig.clock.advance(60)
        await rig.until_handled()
        assert pipeline.status()["state"] == "running"
    assert ids(rig) == ["0", "1", "2"]
    assert {event["touched"] for event in rig.stored()} == {1}, (
        "each attempt began with the events as received"
    )
    assert rig.turned_away() == []


class Slow(Plugin):
    """Looks something up, for as long as it takes."""

    takes: float = 1.0

    @hookimpl
    async def cdpd_prepare(self, events: Sequence[Event]) -> None:
        await self.env.clock.sleep(self.takes)


async def test_a_prepare_that_takes_too_long_is_tried_again(rig: Rig) -> None:
    class Mine(Slow):
        takes = 30.0

    assert isinstance(rig.clock, FakeClock)
    await append(rig, 1)
    options = PipelineConfig(prepare_timeout=5.0)
    async with running(rig, rig.chains(only("slow"), {"slow": Mine}), options) as pipeline:
        while rig.clock.sleepers < 2:  # the plugin and the time-out
            await checkpoint()
        await rig.clock.advance(5.0)
        status = await until(rig, pipeline, "waiting")
        assert "cdpd_prepare took longer than 5 s" in status["reason"]
        Mine.takes = 4.0
        for _ in range(5):
            await rig.clock.advance(1.0)
        await rig.until_handled()
    assert ids(rig) == ["0"]


class Hog(Plugin):
    """Holds the loop, by the clock that it was given."""

    seconds = 0.5

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        self.env.clock.elapsed += self.seconds  # type: ignore[attr-defined]  # the tests' clock


async def test_a_slow_hook_is_named_but_not_for_every_event(rig: Rig) -> None:
    await append(rig, 100)
    await rig.handle_all(only("hog"), {"hog": Hog})
    assert rig.metrics.get(HOOK_SECONDS, "hog") == pytest.approx(50.0)
    [entry] = [entry for entry in rig.told.entries if "slow hook" in entry[1]]
    assert entry[2]["plugin"] == "hog"
    assert entry[2]["milliseconds"] == 500.0
    assert entry[2]["received"] == 0
    await append(rig, 100)
    await rig.handle_all(only("hog"), {"hog": Hog})
    told = [entry for entry in rig.told.entries if "slow hook" in entry[1]]
    assert len(told) == 2, "another pipeline tells anew; within one it is once a minute"


async def test_the_loop_gets_its_turn_between_events(rig: Rig) -> None:
    """By time, not by count: with 1 ms an event after each one, with 0.1 ms after about eight."""
    for milliseconds, least in ((1.0, 100), (0.1, 10)):

        class Mine(Hog):
            seconds = milliseconds / 1000

        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await checkpoint()
                turns += 1

        await append(rig, 100)
        chains = rig.chains(only("hog"), {"hog": Mine})
        pipeline = rig.pipeline(chains)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            tasks.start_soon(pipeline.run)
            await rig.until_handled()
            tasks.cancel_scope.cancel()
        assert turns >= least


# -- reload


class Tag(Plugin):
    """Writes its name on events; can be held up in its preparation."""

    hold: anyio.Event | None = None
    entered: anyio.Event | None = None

    @hookimpl
    async def cdpd_prepare(self, events: Sequence[Event]) -> None:
        if self.hold is not None:
            assert self.entered is not None
            self.entered.set()
            await self.hold.wait()

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        event["tag"] = self.env.name


async def test_a_reload_changes_the_chain_between_two_slices(rig: Rig) -> None:
    class Mine(Tag):
        hold = anyio.Event()
        entered = anyio.Event()

    classes = {"one": Mine, "two": Mine}
    before, after = rig.chains(only("one"), classes), rig.chains(only("two"), classes)
    await append(rig, 3)
    async with running(rig, before) as pipeline:
        assert Mine.entered is not None
        await Mine.entered.wait()
        applied = asyncio.ensure_future(pipeline.apply(after, 8, PipelineConfig()))
        for _ in range(20):
            await checkpoint()
        assert not applied.done(), "a slice of the old chain is on its way"
        assert Mine.hold is not None
        Mine.hold.set()
        await applied
        await append(rig, 2, start=3)
        await rig.until_handled()
    assert [event["tag"] for event in rig.stored()] == ["one"] * 3 + ["two"] * 2
    piece = rig.events.reader(BEGINNING).read()
    assert piece is not None
    assert [frame.config_id for frame in piece.frames] == [CONFIG_ID, 8]


async def test_a_reload_does_not_wait_for_a_pipeline_that_waits(rig: Rig) -> None:
    class Mine(Later):
        pass

    await append(rig, 2)
    async with running(rig, rig.chains(only("later"), {"later": Mine})) as pipeline:
        await until(rig, pipeline, "waiting")
        await pipeline.apply(rig.chains(only()), CONFIG_ID, PipelineConfig())
        await rig.until_handled()
    assert ids(rig) == ["0", "1"]


# -- the whole contract in one plugin: an example of each hook


class Accounts(Plugin):
    """An example: looks accounts up, reports, enriches, filters, and keeps count of what was stored."""

    told: ClassVar[list[Any]] = []

    @hookimpl
    async def cdpd_startup(self) -> None:
        (self.state() / "accounts").write_text("u1 Acme\nu2 Closed\n")

    @hookimpl
    async def cdpd_prepare(self, events: Sequence[Event], source: Source) -> None:
        await checkpoint()
        known = dict(line.split() for line in (self.state() / "accounts").read_text().splitlines())
        self.found = {event.user_id: known.get(event.user_id or "") for event in events}
        self.told.append(("prepare", source.name, len(events)))

    @hookimpl
    def cdpd_validate(self, event: Event) -> Violation | None:
        if self.found[event.user_id]:
            return None
        return Violation("accounts", "account_unknown", f"{event.user_id} is in no account", "userId")

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        event.context["account"] = self.found[event.user_id]

    @hookimpl
    def cdpd_filter(self, event: Event) -> Discard | None:
        return Discard("account_closed") if event.context["account"] == "Closed" else None

    @hookimpl
    def cdpd_committed(self, events: Sequence[Event], position: Position) -> None:
        self.told.append(("committed", [event.user_id for event in events], position))

    @hookimpl
    def cdpd_shutdown(self) -> None:
        self.told.append("shutdown")

    @hookimpl
    def cdpd_routes(self) -> Any:
        from aiohttp import web

        async def count(_: web.Request) -> web.Response:
            return web.json_response(len(self.told))

        return [web.get("/count", count)]


class AfterAccounts(Plugin):
    """Sees what the plugin before it reported."""

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        event["violations"] = [violation.code for violation in event.violations]


async def test_a_plugin_of_every_hook(rig: Rig) -> None:
    Accounts.told = []
    config = only("accounts", "after")
    classes = {"accounts": Accounts, "after": AfterAccounts}
    texts = [received_line({**TRACK, "userId": f"u{n}"}, message_id=str(n)) for n in (1, 2, 3)]
    await rig.received.append(texts, config_id=CONFIG_ID)
    assert {name: len(routes) for name, routes in rig.chains(config, classes).routes().items()} == {
        "accounts": 1
    }
    await rig.handle_all(config, classes)
    first, second = rig.stored()
    assert (first["context"], first["violations"]) == ({"account": "Acme"}, [])
    assert (second["context"], second["violations"]) == ({"account": None}, ["account_unknown"])
    assert rig.codes() == ["account_closed"]
    assert rig.metrics.get(NOTED, "account_unknown") == 1
    assert Accounts.told == [
        ("prepare", "website", 3),
        ("committed", ["u1", "u3"], rig.events.end),
        "shutdown",
    ]


async def test_committed_tells_every_event_once_with_the_position_after_it(rig: Rig) -> None:
    class Mine(Accounts):
        told: ClassVar[list[Any]] = []

    await append(rig, 500)
    await rig.handle_all(only("accounts"), {"accounts": Mine})
    committed = [entry for entry in Mine.told if entry[0] == "committed"]
    assert sum(len(users) for _, users, _ in committed) == 500
    offsets = [position.offset for _, _, position in committed]
    assert offsets == sorted(set(offsets))
    assert committed[-1][2] == rig.events.end
    for _, users, position in committed:
        reader = rig.events.reader(position)
        piece = reader.read(1)
        reader.close()
        assert piece is None or piece.start.offset == position.offset
        assert len(users) <= 64
