"""Rehearsals: what would become of stored lines, without a trace anywhere."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from cdpd.config.load import LoadedConfig
from cdpd.config.model import Config
from cdpd.event import Event, Position, Violation
from cdpd.hookspecs import Discard, Retry, hookimpl
from cdpd.pipeline.chain import HookError
from cdpd.pipeline.rehearsal import Rehearsed, Step, StoredLine, rehearsing
from cdpd.plugins import Plugin
from tests.clock import FakeClock
from tests.pipeline.rig import CONFIG_ID, Installation, Rig, configuration, lines, received_line

TRACK = {"type": "track", "event": "A", "userId": "u"}


def only(*hooks: str, **tables: Any) -> Config:
    return configuration(pipeline={"hooks": list(hooks)}, **tables)


def stored(texts: Sequence[bytes], start: int = 0) -> list[StoredLine]:
    return [StoredLine(Position(start + n, 1), text) for n, text in enumerate(texts)]


async def rehearsed(
    config: Config,
    texts: Sequence[bytes],
    folder: Path,
    classes: Mapping[str, Any] | None = None,
    steps: Container[str] | None = None,
) -> list[Rehearsed]:
    loaded = LoadedConfig(config, CONFIG_ID, folder)
    async with rehearsing(loaded, Installation(classes), FakeClock(), steps=steps) as rehearsal:
        return await rehearsal.run(stored(texts))


def names(steps: Sequence[Step]) -> list[str]:
    return [step.hook for step in steps]


class Adds(Plugin):
    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        event.context["added"] = True


class Reports(Plugin):
    @hookimpl
    def cdpd_validate(self, event: Event) -> Violation:
        return Violation("reports", "odd", "it is odd")


class Fails(Plugin):
    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        if event.event == "B":
            raise RuntimeError("no B here")


class Waits(Plugin):
    @hookimpl
    def cdpd_prepare(self) -> None:
        raise Retry("nobody answers")


class Asks(Plugin):
    not_rehearsed = "it asks a server"

    def __init__(self, config: Any, env: Any) -> None:
        super().__init__(config, env)

    @hookimpl
    def cdpd_startup(self) -> None:
        raise AssertionError("not to be started")

    @hookimpl
    def cdpd_filter(self) -> Discard:
        return Discard("asked")


class Keeps(Plugin):
    folders: ClassVar[list[Path]] = []
    committed: ClassVar[int] = 0

    @hookimpl
    def cdpd_startup(self) -> None:
        folder = self.state()
        assert not list(folder.iterdir())
        (folder / "kept").write_text("something")
        Keeps.folders.append(folder)

    @hookimpl
    def cdpd_committed(self) -> None:
        Keeps.committed += 1


async def test_what_it_says_is_what_the_pipeline_did(rig: Rig, tmp_path: Path) -> None:
    texts = [
        received_line({**TRACK, "messageId": "a", "properties": {"price": 1.10}}, path="/v1/track"),
        received_line({**TRACK, "messageId": "b", "type": "trak"}),
        received_line({"type": "page", "messageId": "c", "anonymousId": "x", "name": "Home"}),
        received_line({**TRACK, "messageId": "d"}, source="gone"),
        received_line({**TRACK, "messageId": "e", "event": "Debug It"}),
        b"[no line of ours]",
    ]
    config = only("spec", "ip", "drop", hooks={"drop": {"rules": [{"event": "Debug *"}]}})
    await rig.received.append(texts, config_id=CONFIG_ID)
    await rig.handle_all(config)
    found = await rehearsed(config, texts, tmp_path)
    assert [one.line for one in found if one.line is not None] == lines(rig.events)
    turned_away = [(one.ended.by, one.ended.code, one.ended.message) for one in found if one.ended]
    assert turned_away == [(line["by"], line["code"], line["message"]) for line in rig.turned_away()]
    assert [one.source for one in found] == ["website", "website", "website", "gone", "website", ""]
    assert [one.message_id for one in found] == ["a", "b", "c", "d", "e", ""]


async def test_steps_tell_what_each_hook_changed_and_nothing_of_those_that_changed_nothing(
    tmp_path: Path,
) -> None:
    config = only("spec", "drop", "adds")
    (one,) = await rehearsed(config, [received_line(TRACK)], tmp_path, {"adds": Adds})
    assert names(one.steps) == ["spec", "adds"]
    spec, adds = one.steps
    assert spec.after == adds.before
    assert b'"added"' not in adds.before
    assert adds.after == one.line
    assert msgspec.json.decode(spec.before)["messageId"] == "made-by-ingest"


async def test_steps_of_an_event_that_ends_are_those_before_its_end(tmp_path: Path) -> None:
    config = only("adds", "drop", hooks={"drop": {"rules": [{"event": "A"}]}})
    (one,) = await rehearsed(config, [received_line(TRACK)], tmp_path, {"adds": Adds})
    assert one.line is None
    assert one.ended is not None
    assert (one.ended.by, one.ended.code) == ("drop", "dropped")
    assert names(one.steps) == ["adds"]


async def test_without_steps_the_outcome_is_the_same(tmp_path: Path) -> None:
    texts = [received_line(TRACK), received_line({**TRACK, "type": "trak"})]
    with_steps = await rehearsed(only("spec", "ip"), texts, tmp_path)
    without = await rehearsed(only("spec", "ip"), texts, tmp_path, steps=())
    assert [(one.line, one.ended) for one in without] == [(one.line, one.ended) for one in with_steps]
    assert [one.steps for one in without] == [(), ()]


async def test_violations_are_in_the_result(tmp_path: Path) -> None:
    (one,) = await rehearsed(only("reports"), [received_line(TRACK)], tmp_path, {"reports": Reports})
    assert [violation.code for violation in one.violations] == ["odd"]


async def test_a_hook_that_fails_is_a_result_however_often(tmp_path: Path) -> None:
    texts = [received_line({**TRACK, "event": "B"})] * 1500 + [received_line(TRACK)]
    config = only("fails")
    found = await rehearsed(config, texts, tmp_path, {"fails": Fails})
    assert found[-1].line is not None
    assert {(one.ended.by, one.ended.code, one.ended.message) for one in found[:-1] if one.ended} == {
        ("fails", "hook_error", "RuntimeError: no B here")
    }


async def test_a_hook_that_cannot_decide_now_leaves_undecided_what_it_was_asked_about(tmp_path: Path) -> None:
    config = only(
        "spec",
        "waits",
        sources={"website": {"write_keys": ["a"]}, "app": {"write_keys": ["b"], "hooks": ["spec"]}},
    )
    texts = [
        received_line(TRACK),
        received_line(TRACK, source="app"),
        received_line({**TRACK, "type": "trak"}),
    ]
    first, other, bad = await rehearsed(config, texts, tmp_path, {"waits": Waits})
    assert first.ended is not None
    assert (first.ended.by, first.ended.code, first.ended.message) == ("waits", "undecided", "nobody answers")
    assert other.line is not None
    assert bad.ended is not None
    assert bad.ended.code == "unknown_type"


async def test_what_says_that_it_cannot_be_rehearsed_is_left_out_and_named(tmp_path: Path) -> None:
    loaded = LoadedConfig(only("spec", "dedup", "asks"), CONFIG_ID, tmp_path)
    async with rehearsing(loaded, Installation({"asks": Asks}), FakeClock()) as rehearsal:
        assert rehearsal.left_out == {
            "dedup": "it judges by what is stored already",
            "asks": "it asks a server",
        }
        assert rehearsal.hooks("website") == ["spec"]
        assert rehearsal.hooks("app") is None
        twice = await rehearsal.run(stored([received_line(TRACK)] * 2))
    assert all(one.line is not None for one in twice)


async def test_nothing_is_written_where_the_daemon_keeps_its_own(tmp_path: Path) -> None:
    Keeps.folders.clear()
    await rehearsed(only("keeps", "dedup"), [received_line(TRACK)], tmp_path / "data", {"keeps": Keeps})
    (folder,) = Keeps.folders
    assert not folder.exists()
    assert not (tmp_path / "data").exists()
    assert Keeps.committed == 0


async def test_lines_need_not_follow_one_another(tmp_path: Path) -> None:
    loaded = LoadedConfig(only("spec"), CONFIG_ID, tmp_path)
    chosen = [
        StoredLine(Position(3, 1), received_line({**TRACK, "messageId": "a"}), 5),
        StoredLine(Position(4, 1), b"", 5),
        StoredLine(Position(5, 1), received_line({**TRACK, "messageId": "b"}), 5),
        StoredLine(Position(900, 2), received_line({**TRACK, "messageId": "c"}), 9),
    ]
    async with rehearsing(loaded, Installation(), FakeClock()) as rehearsal:
        found = await rehearsal.run(chosen)
        assert await rehearsal.run([]) == []
    assert [(one.position, one.message_id) for one in found] == [
        (Position(3, 1), "a"),
        (Position(5, 1), "b"),
        (Position(900, 2), "c"),
    ]


async def test_a_hook_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    config = only("geo", hooks={"geo": {"path": str(tmp_path / "missing.mmdb")}})
    with pytest.raises(HookError, match=r"hook 'geo' did not start"):
        await rehearsed(config, [], tmp_path)
