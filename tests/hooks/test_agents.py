"""What is read of user agents and client hints; by Python and by the native parser alike."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from cdpd.hooks.agents import parser as parsing
from cdpd.hooks.agents.describe import Facts, describe, is_spider
from cdpd.hooks.agents.hints import NO_HINTS, Hints, read_hints
from cdpd.hooks.agents.parser import LONGEST, Parser
from cdpd.hooks.remembered import finish
from tests.hooks import agents
from tests.hooks.anything import TEXT, VALUES

CHROME = {"brand": "Chromium", "version": "120"}
GREASE = {"brand": "Not_A Brand", "version": "8"}


def facts(agent: str, parser: Parser, hints: dict[str, Any] | None = None) -> Facts:
    told = NO_HINTS if hints is None else read_hints(msgspec.json.encode(hints))
    return finish(describe(agent, told, parser))


@pytest.mark.parametrize(
    ("agent", "device", "os", "browser"),
    [
        (agents.CHROME_WINDOWS, "desktop", "Windows", "Chrome 120.0.0.0"),
        (agents.CHROME_MAC, "desktop Apple Mac", "macOS", "Chrome 120.0.0.0"),
        (agents.CHROME_OS, "desktop", "Chrome OS 14541.0.0", "Chrome 120.0.0.0"),
        (agents.CHROME_ANDROID, "mobile", "Android", "Chrome Mobile 124.0.0.0"),
        (agents.CHROME_ANDROID_TABLET, "tablet", "Android", "Chrome 124.0.0.0"),
        (agents.CHROME_PIXEL, "mobile Google Pixel 8 Pro", "Android 14", "Chrome Mobile 120.0.6099.43"),
        (agents.EDGE, "desktop", "Windows", "Edge 120.0.0.0"),
        (agents.OPERA, "desktop", "Windows", "Opera 106.0.0"),
        (agents.XBOX, "console", "Windows", "Edge 120.0.0.0"),
        (agents.SAMSUNG_TABLET, "tablet Samsung SM-X906B", "Android 13", "Chrome 120.0.0.0"),
        (agents.FIREFOX, "desktop", "Ubuntu", "Firefox 119.0"),
        (agents.FIREFOX_TABLET, "tablet", "Android 13", "Firefox Mobile 120.0"),
        (agents.SAFARI, "desktop Apple Mac", "macOS", "Safari 17.2"),
        (agents.IPHONE, "mobile Apple iPhone", "iOS 17.1", "Mobile Safari 17.1"),
        (agents.IPAD, "tablet Apple iPad", "iOS 17.1", "Mobile Safari 17.1"),
        (agents.FACEBOOK, "mobile Apple iPhone12,1", "iOS 17.1", "Facebook"),
        (agents.TV, "tv LG Web0S SmartTV", "Web0S", "Chrome 79.0.3945.79"),
        (agents.PLAYSTATION, "console Sony PlayStation 5", "", "Safari 13.0"),
        (agents.IE, "desktop", "Windows 7", "IE 11.0"),
        (agents.DALVIK, "Google Pixel 6", "Android 12", "Android 12"),
        (agents.CFNETWORK, "Apple", "iOS 16", "MyApp 1"),
        (agents.GOOGLEBOT, "bot", "", "Googlebot 2.1"),
        ("Java/17.0.1", "", "", "Java 17.0.1"),
        ("analytics-python/2.3", "", "", ""),
        ("what is this", "", "", ""),
    ],
)
def test_what_a_user_agent_tells(agent: str, device: str, os: str, browser: str, parser: Parser) -> None:
    found = facts(agent, parser)
    assert [" ".join(part.values()) for part in (found.device, found.os, found.browser)] == [
        device,
        os,
        browser,
    ]


@pytest.mark.parametrize(
    ("agent", "hints", "device", "os", "browser"),
    [
        (agents.CHROME_WINDOWS, {"platform": "Windows", "platformVersion": "15.0.0"}, "desktop", "Windows 11", ...),
        (agents.CHROME_WINDOWS, {"platform": "Windows", "platformVersion": "10.0.0"}, "desktop", "Windows 10", ...),
        (agents.CHROME_WINDOWS, {"platform": "Windows", "platformVersion": "0.3.0"}, "desktop", "Windows 8.1", ...),
        (agents.CHROME_WINDOWS, {"platform": "Windows", "platformVersion": "x"}, "desktop", "Windows", ...),
        (agents.CHROME_MAC, {"platform": "macOS", "platformVersion": "14.2.1"}, ..., "macOS 14.2.1", ...),
        (agents.CHROME_LINUX, {"platform": "Linux", "platformVersion": "6.5.0"}, "desktop", "Linux", ...),
        (agents.CHROME_LINUX, {"platform": "Chromium OS"}, "desktop", "Chrome OS", ...),
        (agents.CHROME_LINUX, {"platform": "Unknown"}, "desktop", "Linux", ...),
        (
            agents.CHROME_ANDROID,
            {"platform": "Android", "platformVersion": "14.0.0", "mobile": True, "model": "SM-S918B"},
            "mobile Samsung SM-S918B",
            "Android 14",
            ...,
        ),
        (agents.CHROME_ANDROID, {"model": "A); Chrome/9 ("}, "mobile", "Android", ...),
        (agents.CHROME_ANDROID, {"platform": "Android", "mobile": False}, "tablet", "Android", ...),
        (agents.CHROME_LINUX, {"mobile": True}, "mobile", "Linux", ...),
        (agents.CHROME_WINDOWS, {"mobile": False}, "desktop", "Windows", ...),
        (agents.CHROME_LINUX, {"brands": [GREASE, {"brand": "Google Chrome", "version": "120"}]}, ..., ..., ...),
        (
            agents.CHROME_LINUX,
            {"brands": [CHROME], "fullVersionList": [GREASE, {"brand": "Google Chrome", "version": "120.0.6099.109"}]},
            ...,
            ...,
            "Chrome 120.0.6099.109",
        ),
        (agents.CHROME_LINUX, {"brands": [CHROME, {"brand": "Brave", "version": "120"}]}, ..., ..., "Brave 120"),
        (
            agents.EDGE,
            {"brands": [CHROME, {"brand": "Microsoft Edge", "version": "120.0.2210.61"}]},
            ...,
            ...,
            "Edge 120.0.2210.61",
        ),
        (agents.SAFARI, {"platform": "Windows", "mobile": True}, "desktop Apple Mac", "macOS", "Safari 17.2"),
    ],
)  # fmt: skip
def test_what_client_hints_add(
    agent: str, hints: dict[str, Any], device: Any, os: Any, browser: Any, parser: Parser
) -> None:
    found, without = facts(agent, parser, hints), facts(agent, parser)
    for name, expected in {"device": device, "os": os, "browser": browser}.items():
        shown = " ".join(getattr(without, name).values()) if expected is ... else expected
        assert " ".join(getattr(found, name).values()) == shown


@given(hints=VALUES)
def test_hints_of_any_kind_can_be_read(hints: Any) -> None:
    assert isinstance(read_hints(msgspec.json.encode(hints)), Hints)
    entry = {"brands": hints, "platform": hints, "platformVersion": hints, "model": hints, "mobile": hints}
    assert isinstance(read_hints(msgspec.json.encode({**entry, "fullVersionList": [hints, entry]})), Hints)


@given(text=TEXT)
def test_any_text_can_be_read(parsers: dict[str, Parser], text: str) -> None:
    for parser in parsers.values():
        for agent in (text, f"Mozilla/5.0 ({text}) {text}/1.{text}"):
            assert set(facts(agent, parser).browser) <= {"name", "version"}


@pytest.mark.parametrize("agent", [agents.GOOGLEBOT, agents.GPTBOT, "WhatsApp/2.23.20.0 A"])
def test_crawlers_are_known(agent: str, parser: Parser) -> None:
    assert is_spider(finish(parser(agent)))


@pytest.mark.parametrize("agent", [agents.CHROME_PIXEL, agents.CUBOT, agents.FACEBOOK, *agents.PROGRAMS])
def test_people_and_programs_are_no_crawlers(agent: str, parser: Parser) -> None:
    assert not is_spider(finish(parser(agent)))


def test_in_python_a_text_is_read_in_steps_of_a_few_rules(parsers: dict[str, Parser]) -> None:
    steps = parsers["python"]("x" * LONGEST)
    rules = sum(map(len, parsing.ua_parser.load_lazy_builtins()))
    assert sum(1 for _ in steps) >= rules / 32


def test_without_the_native_package_python_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing.ua_parser, "RegexResolver", None)
    assert facts(agents.FIREFOX, parsing.load_parser()).browser == {"name": "Firefox", "version": "119.0"}
