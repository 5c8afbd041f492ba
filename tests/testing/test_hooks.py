"""The kit for authors of hooks: what it runs, what it shows, and that mistakes are not hidden."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from cdpd.config.problem import ConfigError
from cdpd.event import Event, Position, Via, Violation
from cdpd.hooks.drop import Drop
from cdpd.hookspecs import Discard, Retry, hookimpl
from cdpd.pipeline.instance import HookError
from cdpd.plugins import Plugin, Source
from cdpd.testing import Discarded, FakeClock, make_event, running_hook


class Every(Plugin):
    """Uses every hook, and notes what it is called with."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        path: Path
        least: Annotated[int, Meta(ge=1)] = 1

    def __init__(self, config: Any, env: Any) -> None:
        super().__init__(config, env)
        self.calls: list[str] = []

    @hookimpl
    async def cdpd_startup(self) -> None:
        self.calls.append("startup")
        (self.state() / "kept").touch()
        self.env.log.info("started", path=str(self.config.path))

    @hookimpl
    def cdpd_shutdown(self) -> None:
        self.calls.append("shutdown")

    @hookimpl
    async def cdpd_prepare(self, events: Sequence[Event], source: Source) -> None:
        self.calls.append(f"prepare {len(events)} of {source.name}")

    @hookimpl
    def cdpd_validate(self, event: Event) -> Iterable[Violation]:
        if "plan" not in event.properties:
            yield Violation("every", "no_plan", "there is no plan", "properties.plan")

    @hookimpl
    def cdpd_enrich(self, event: Event, source: Source) -> None:
        assert event.received is not None
        event.context["source"] = [source.name, source.type, dict(source.labels), event.received.via.ip]

    @hookimpl
    def cdpd_filter(self, event: Event) -> Discard | None:
        return Discard("unwanted", "nobody wants it", record=False) if event.event == "Noise" else None

    @hookimpl
    def cdpd_committed(self, events: Sequence[Event], position: Position) -> None:
        self.calls.append(f"committed {[event.message_id for event in events]} up to {position.offset}")


def is_there(path: Path) -> bool:
    return path.exists()


async def test_a_slice_goes_through_every_hook() -> None:
    async with running_hook(Every, {"path": "~/x"}) as hook:
        assert hook.plugin.config.path == Path.home() / "x"
        passed = await hook.send(
            {"event": "A", "properties": {"plan": "pro"}}, {"event": "Noise"}, {"type": "page", "name": "Home"},
            source=Source("app", "mobile", {"env": "prod"}), via=Via(ip="192.0.2.1"),
        )  # fmt: skip
        assert [event["messageId"] for event in passed.events] == ["m1", "m3"]
        assert passed.events[0]["context"] == {"source": ["app", "mobile", {"env": "prod"}, "192.0.2.1"]}
        assert passed.events[0]["projectId"] == "app"
        assert passed.discarded == [Discarded("m2", "tested", "unwanted", "nobody wants it", False)]
        assert [violation.code for violation in passed.violations] == ["no_plan", "no_plan"]
        assert (await hook.send({"event": "B"})).event["messageId"] == "m4"
        plugin = hook.plugin
    assert plugin.calls == [
        "startup",
        "prepare 3 of app",
        "committed ['m1', 'm3'] up to 4",
        "prepare 1 of website",
        "committed ['m4'] up to 5",
        "shutdown",
    ]
    assert hook.log.texts("info") == ["started"]


async def test_the_state_folder_is_temporary_or_the_tests_own(tmp_path: Path) -> None:
    async with running_hook(Every, {"path": "x"}) as hook:
        temporary: Path = hook.plugin.env.state_dir
        assert is_there(temporary / "kept")
    assert not is_there(temporary)
    async with running_hook(Every, {"path": "x"}, state_dir=tmp_path / "own"):
        pass
    assert (tmp_path / "own" / "kept").exists()


async def test_installed_hooks_can_run_before_it() -> None:
    async with running_hook(Every, {"path": "x"}, before=["spec"]) as hook:
        passed = await hook.send({"type": "trak"}, {"event": "A", "timestamp": "2024-01-01"})
    assert [(discarded.by, discarded.message_id) for discarded in passed.discarded] == [("spec", "m1")]
    assert passed.event["timestamp"] == "2024-01-01T00:00:00.000Z"


async def test_wrong_options_are_refused_in_the_words_of_check() -> None:
    with pytest.raises(ConfigError) as caught:
        async with running_hook(Every, {"least": 0, "psth": "x"}):
            pass
    assert [str(problem) for problem in caught.value.problems] == [
        "least: expected a whole number >= 1, found 0",
        'psth: unknown key; did you mean "path"?',
        "path: missing: a path is needed here",
    ]
    with pytest.raises(ConfigError, match="a rule needs a condition"):
        async with running_hook(Drop, {"rules": [{}]}):
            pass


async def test_what_a_hook_raises_is_raised_in_the_test() -> None:
    class Broken(Plugin):
        @hookimpl
        def cdpd_enrich(self, event: Event) -> None:
            raise (Retry("the database is down") if event.event == "later" else KeyError("plan"))

    async with running_hook(Broken) as hook:
        with pytest.raises(KeyError, match="plan"):
            await hook.send({"event": "now"})
        with pytest.raises(Retry, match="the database is down"):
            await hook.send({"event": "later"})


async def test_a_failing_look_up_is_raised_too() -> None:
    class Broken(Plugin):
        @hookimpl
        async def cdpd_prepare(self, events: Sequence[Event]) -> None:
            raise LookupError("no such table")

    async with running_hook(Broken) as hook:
        with pytest.raises(LookupError, match="no such table"):
            await hook.send({}, {})


async def test_a_plugin_that_breaks_the_contract_is_refused_as_by_the_daemon() -> None:
    class Unmarked(Plugin):
        def cdpd_enrich(self, event: Event) -> None: ...

    class Failing(Plugin):
        @hookimpl
        def cdpd_startup(self) -> None:
            raise OSError("no file")

    class Wrong(Plugin):
        @hookimpl
        def cdpd_filter(self, event: Event) -> Any:
            return "spam"

    with pytest.raises(HookError, match="put @hookimpl above it"):
        async with running_hook(Unmarked):
            pass
    with pytest.raises(HookError, match="did not start: OSError: no file"):
        async with running_hook(Failing):
            pass
    async with running_hook(Wrong) as hook:
        with pytest.raises(TypeError, match="a Discard of texts, or None, is expected"):
            await hook.send({})


async def test_a_plugin_that_reads_the_log_is_told_how_to_be_given_one() -> None:
    class Reads(Plugin):
        @hookimpl
        def cdpd_startup(self) -> None:
            self.env.streams.end("events")

    with pytest.raises(HookError, match=r"running_hook\(…, streams=…\)"):
        async with running_hook(Reads):
            pass


async def test_time_is_the_tests() -> None:
    class Timed(Plugin):
        @hookimpl
        def cdpd_enrich(self, event: Event) -> None:
            event.context["at"] = self.env.clock.now_ms()

    clock = FakeClock()
    async with running_hook(Timed, clock=clock) as hook:
        first = (await hook.send({})).event["context"]["at"]
        await clock.advance(60)
        assert (await hook.send({})).event["context"]["at"] == first + 60_000


def test_an_event_is_filled_up_to_what_hooks_can_rely_on() -> None:
    event = make_event({"type": "identify", "anonymousId": "a1", "traits": {"age": 1.10}}, 7)
    assert event.plain() == {
        "messageId": "m7",
        "type": "identify",
        "context": {},
        "timestamp": "2023-11-14T22:13:20.000Z",
        "receivedAt": "2023-11-14T22:13:20.000Z",
        "projectId": "website",
        "anonymousId": "a1",
        "traits": {"age": 1.1},
    }
    assert "messageId" not in make_event({"messageId": None}).plain()


async def test_an_event_of_the_tests_own_keeps_what_was_noted_of_it() -> None:
    async with running_hook(Every, {"path": "x"}) as hook:
        own = make_event({"event": "A"}, via=Via(ip="192.0.2.9"))
        passed = await hook.send(own, make_event({"event": "Noise"}))
    assert passed.event["context"]["source"][3] == "192.0.2.9"
    assert [discarded.message_id for discarded in passed.discarded] == ["m1"]
