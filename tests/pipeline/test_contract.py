"""Plugins that break the hook contract are refused when the chains are built, each with what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec import Struct

from cdpd.event import Event
from cdpd.hookspecs import Discard, hookimpl
from cdpd.pipeline.chain import Chains, HookError
from cdpd.plugins import Plugin, Source
from tests.clock import FakeClock
from tests.pipeline.rig import Rig, configuration


def build(tmp_path: Path, plugin: Any, *, options: dict[str, Any] | None = None, **tables: Any) -> Chains:
    """Chains with one hook, `mine`."""
    config = configuration(pipeline={"hooks": ["mine"]}, hooks={"mine": options or {}}, **tables)
    return Rig(tmp_path, clock=FakeClock()).chains(config, {"mine": plugin})


def with_hook(**hooks: Callable[..., Any]) -> type[Plugin]:
    return type("Mine", (Plugin,), hooks)


def test_an_unknown_hook_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    def cdpd_filtre(self: Any, event: Event) -> None: ...

    with pytest.raises(HookError, match=r"there is no hook cdpd_filtre; did you mean \"cdpd_filter\"\?"):
        build(tmp_path, with_hook(cdpd_filtre=hookimpl(cdpd_filtre)))


def test_an_argument_that_the_hook_does_not_have_is_refused(tmp_path: Path) -> None:
    def cdpd_filter(self: Any, event: Event, request: Any) -> None: ...

    with pytest.raises(HookError, match=r"does not fit cdpd.hookspecs: .*request"):
        build(tmp_path, with_hook(cdpd_filter=hookimpl(cdpd_filter)))


def test_a_hook_without_its_mark_is_refused(tmp_path: Path) -> None:
    def cdpd_filter(self: Any, event: Event) -> None: ...

    with pytest.raises(HookError, match="cdpd_filter is not marked as a hook: put @hookimpl above it"):
        build(tmp_path, with_hook(cdpd_filter=cdpd_filter))


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
def test_a_wrapper_is_refused(tmp_path: Path, option: str) -> None:
    def cdpd_filter(self: Any, event: Event) -> Iterator[None]:
        yield

    with pytest.raises(HookError, match="cdpd_filter is a hook wrapper"):
        build(tmp_path, with_hook(cdpd_filter=hookimpl(**{option: True})(cdpd_filter)))


@pytest.mark.parametrize("option", ["tryfirst", "trylast"])
def test_an_order_of_its_own_is_refused(tmp_path: Path, option: str) -> None:
    def cdpd_filter(self: Any, event: Event) -> None: ...

    with pytest.raises(HookError, match=f"asks for {option}; the order of hooks is the configuration's"):
        build(tmp_path, with_hook(cdpd_filter=hookimpl(**{option: True})(cdpd_filter)))


@pytest.mark.parametrize("name", ["cdpd_validate", "cdpd_enrich", "cdpd_filter"])
def test_an_async_hook_for_single_events_is_refused(tmp_path: Path, name: str) -> None:
    async def hook(self: Any, event: Event) -> None: ...

    with pytest.raises(HookError, match=f"{name} is async, .*look up in cdpd_prepare"):
        build(tmp_path, with_hook(**{name: hookimpl(specname=name)(hook)}))


def test_what_is_no_plugin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        HookError, match=r"hook 'mine' of cdpd-example is no plugin: a class on cdpd.plugins.Plugin"
    ):
        build(tmp_path, object)


def test_a_package_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    with pytest.raises(HookError, match="'mine' of cdpd-example cannot be loaded: ImportError: no maxminddb"):
        build(tmp_path, ImportError("no maxminddb"))


def test_a_plugin_that_is_not_installed_is_named(tmp_path: Path) -> None:
    config = configuration(pipeline={"hooks": ["geo"]}, hooks={"geo": {"use": "maxmind"}})
    with pytest.raises(HookError, match="there is no hook 'maxmind'"):
        Rig(tmp_path, clock=FakeClock()).chains(config)


def test_a_constructor_that_raises_is_told(tmp_path: Path) -> None:
    class Mine(Plugin):
        def __init__(self, config: Any, env: Any) -> None:
            raise OSError("no such database")

    with pytest.raises(HookError, match="'mine' of cdpd-example cannot be made: OSError: no such database"):
        build(tmp_path, Mine)


class Typed(Plugin):
    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        path: Path
        limit: int = 3


def test_options_come_typed(tmp_path: Path) -> None:
    config = build(tmp_path, Typed, options={"path": "~/x"}).instances["mine"].plugin.config
    assert config == Typed.Config(Path("~/x").expanduser(), 3)


def test_a_wrong_option_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(HookError, match=r"\[hooks.mine\]: .*`\$.limit`"):
        build(tmp_path, Typed, options={"path": "x", "limit": "y"})


def test_a_generator_may_report_violations_and_arguments_may_be_left_out(tmp_path: Path) -> None:
    class Mine(Plugin):
        seen: list[Any]

        @hookimpl
        def cdpd_filter(self, source: Source) -> Discard | None:
            return Discard("seen", source.name)

        @hookimpl(specname="cdpd_enrich")
        def other_way_round(self, source: Source, event: Event) -> None:
            event["from"] = source.name

        @hookimpl
        def cdpd_validate(self) -> None: ...

    hook = build(tmp_path, Mine).instances["mine"]
    event, source = Event(b"{}"), Source("website")
    assert hook.validate is not None
    assert hook.validate(event, source) is None
    assert hook.enrich is not None
    hook.enrich(event, source)
    assert event["from"] == "website"
    assert hook.filter is not None
    assert hook.filter(event, source) == Discard("seen", "website")


# -- starting, stopping, reloading


class Lively(Plugin):
    """Tells what happens to it."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        tag: str = ""
        fails: str = ""

    told: ClassVar[list[str]] = []

    def tell(self, what: str) -> None:
        self.told.append(f"{what} {self.env.name}{self.config.tag}")
        if self.config.fails == what:
            raise OSError("it broke")

    @hookimpl
    async def cdpd_startup(self) -> None:
        self.tell("start")

    @hookimpl
    def cdpd_shutdown(self) -> None:
        self.tell("stop")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    Lively.told = []
    return Rig(tmp_path, clock=FakeClock())


def lively(rig: Rig, previous: Chains | None = None, **hooks: dict[str, Any]) -> Chains:
    config = configuration(
        pipeline={"hooks": list(hooks)},
        hooks={name: {"use": "lively", **options} for name, options in hooks.items()},
    )
    return rig.chains(config, {"lively": Lively}, previous)


async def test_a_reload_keeps_the_instances_that_did_not_change(rig: Rig) -> None:
    before = lively(rig, a={}, b={}, c={})
    await before.startup()
    after = lively(rig, before, b={"tag": "2"}, a={}, d={})
    assert after.instances["a"] is before.instances["a"]
    await after.startup()
    await before.shutdown(keep=after)
    await after.shutdown()
    assert Lively.told == [
        *("start a", "start b", "start c"),
        *("start b2", "start d"),
        *("stop c", "stop b"),
        *("stop d", "stop a", "stop b2"),
    ]


async def test_a_failed_start_stops_what_it_started_and_nothing_else(rig: Rig) -> None:
    before = lively(rig, a={})
    await before.startup()
    after = lively(rig, before, a={}, b={}, c={"fails": "start"}, d={})
    with pytest.raises(HookError, match="hook 'c' did not start: OSError: it broke"):
        await after.startup()
    assert Lively.told == ["start a", "start b", "start c", "stop b"]
    assert before.instances["a"].started


def stops_not_well(rig: Rig) -> list[tuple[str, str]]:
    return [
        (details["plugin"], details["problem"])
        for level, text, details in rig.told.entries
        if (level, text) == ("warning", "a hook did not stop well")
    ]


async def test_each_failed_stop_is_warned_of_and_does_not_keep_the_others_running(rig: Rig) -> None:
    chains = lively(rig, a={}, b={"fails": "stop"}, c={}, d={"fails": "stop"})
    await chains.startup()
    await chains.shutdown()
    assert Lively.told[4:] == ["stop d", "stop c", "stop b", "stop a"]
    assert stops_not_well(rig) == [("d", "OSError: it broke"), ("b", "OSError: it broke")]


async def test_a_failed_start_is_told_even_where_stopping_the_others_fails_too(rig: Rig) -> None:
    chains = lively(rig, a={"fails": "stop"}, b={"fails": "start"})
    with pytest.raises(HookError, match="hook 'b' did not start: OSError: it broke"):
        await chains.startup()
    assert stops_not_well(rig) == [("a", "OSError: it broke")]


@pytest.mark.parametrize("failure", [SystemExit(3), asyncio.CancelledError("own")])
async def test_a_hook_that_exits_or_cancels_itself_while_starting_or_stopping_only_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    chains = lively(rig, a={}, b={}, c={})
    await chains.startup()

    def tell(self: Lively, what: str) -> None:
        self.told.append(f"{what} {self.env.name}")
        if self.env.name == "b":
            raise failure

    monkeypatch.setattr(Lively, "tell", tell)
    await chains.shutdown()
    assert Lively.told[3:] == ["stop c", "stop b", "stop a"]
    with pytest.raises(HookError, match=f"hook 'b' did not start: {type(failure).__name__}: "):
        await lively(rig, a={}, b={}).startup()
    assert [name for name, _ in stops_not_well(rig)] == ["b"]


def test_a_source_with_hooks_of_its_own_uses_these_instead(rig: Rig) -> None:
    sources = {
        "website": {"write_keys": ["a"]},
        "app": {"write_keys": ["b"], "hooks": ["ip", "spec"]},
        "raw": {"write_keys": ["c"], "hooks": []},
    }
    chains = rig.chains(configuration(sources=sources))

    def names(source: str) -> list[str]:
        chain = chains.of(source)
        assert chain is not None
        return [hook.name for hook in chain.hooks]

    assert names("website") == ["spec", "dedup", "ip"]
    assert names("app") == ["ip", "spec"]
    assert names("raw") == []
    assert chains.of("other") is None
