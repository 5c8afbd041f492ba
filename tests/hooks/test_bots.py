"""The `bots` hook: who is a bot, and what becomes of what they send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd.config.decode import decode
from cdpd.config.shape import check_shape
from cdpd.hooks.agents.parser import Parser
from cdpd.hooks.bots import Bots
from cdpd.hookspecs import Discard
from cdpd.plugins import Source
from tests.hooks import agents
from tests.hooks.anything import changed, events, received
from tests.hooks.applying import Running, running

WEBSITE = Source("website", "javascript")
SERVER = Source("backend", "server")


@pytest.fixture
async def hook(loaded: None) -> AsyncIterator[Running]:
    async with running(Bots) as hook:
        yield hook


async def bot(hook: Running, agent: str, **how: Any) -> str | None:
    """The name of the bot that an event is marked with; None where it is not marked."""
    context = await hook.context({"userAgent": agent}, **how)
    name = context.get("bot", {}).get("name")
    assert context.get("isBot") == (True if name else None)
    return name  # type: ignore[no-any-return]  # of JSON


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (agents.GOOGLEBOT, "Googlebot"),
        (agents.GPTBOT, "GPTBot"),
        (agents.BYTESPIDER, "Bytespider"),
        (agents.LIGHTHOUSE, "Chrome-Lighthouse"),
        (agents.HEADLESS, "HeadlessChrome"),
        ("Mediapartners-Google", "Mediapartners-Google"),
        ("AdsBot-Google (+http://www.google.com/adsbot.html)", "AdsBot-Google"),
        ("Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "UptimeRobot"),
        ("Acme-crawler/1.2", "Acme-crawler"),
        (f"{agents.CHROME_PIXEL} (compatible; AcmeBot/2.1; +https://acme.example/bot)", "AcmeBot"),
        (f"{agents.CUBOT} (compatible; AcmeBot/2.1)", "AcmeBot"),
        ("Mozilla/5.0 jsdom/22.1", "jsdom"),
    ],
)
async def test_bots_are_marked_with_their_name(hook: Running, agent: str, name: str) -> None:
    assert await bot(hook, agent) == name


@pytest.mark.parametrize(
    "agent",
    [
        *(agents.CHROME_WINDOWS, agents.CHROME_ANDROID, agents.SAFARI, agents.IPHONE, agents.FIREFOX),
        *(agents.FACEBOOK, agents.CUBOT, agents.TV, agents.DALVIK, agents.CFNETWORK, agents.IE),
        *agents.PROGRAMS,
    ],
)
async def test_people_and_servers_are_not(hook: Running, agent: str) -> None:
    assert await bot(hook, agent) is None


async def test_browsers_without_a_screen_may_be_people(loaded: None) -> None:
    async with running(Bots, {"headless": False}) as hook:
        assert await bot(hook, agents.HEADLESS) is None
        assert await bot(hook, agents.GOOGLEBOT) == "Googlebot"


async def test_patterns_add_bots_and_allow_takes_them_away(loaded: None) -> None:
    options = {"patterns": ["acmemonitor/[0-9]", "Firefox"], "allow": ["googlebot", r"rv:109\.0"]}
    async with running(Bots, options) as hook:
        assert await bot(hook, "Mozilla/5.0 (AcmeMonitor/3)") == "AcmeMonitor/3"
        assert await bot(hook, agents.FIREFOX_TABLET) == "Firefox"
        assert await bot(hook, agents.FIREFOX) is None
        assert await bot(hook, agents.GOOGLEBOT) is None
        assert await bot(hook, agents.GPTBOT) == "GPTBot"


@pytest.mark.parametrize(
    ("source", "path", "context", "marked"),
    [
        (WEBSITE, "/v1/batch", {}, True),
        (WEBSITE, "/v1/batch", {"userAgent": ""}, True),
        (WEBSITE, "/v1/batch", {"userAgent": None}, True),
        (WEBSITE, "/v1/batch", {"userAgent": agents.SAFARI}, False),
        (WEBSITE, "/v1/batch", {"userAgent": 7}, False),
        (SERVER, "/v1/t", {}, False),
        (SERVER, "/v1/t", {"userAgent": agents.GOOGLEBOT}, True),
        (Source("any"), "/v1/t", {}, True),
        (Source("any"), "/v1/track", {}, False),
        (Source("any"), "/v1/track", {"library": {"name": "analytics.js"}}, True),
    ],
)
async def test_the_requests_own_user_agent_counts_for_devices_alone(
    hook: Running, source: Source, path: str, context: dict[str, Any], marked: bool
) -> None:
    via = {"userAgent": agents.GOOGLEBOT}
    found = await hook.context(context, source=source, path=path, via=via)
    assert ("isBot" in found) == marked


@pytest.mark.parametrize("context", [None, [], "x"])
async def test_an_event_without_a_context_gets_one_where_a_bot_sent_it(hook: Running, context: Any) -> None:
    found = await hook.context(context, source=WEBSITE, via={"userAgent": agents.GOOGLEBOT})
    assert found == {"isBot": True, "bot": {"name": "Googlebot"}}


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"isBot": False}, {"isBot": False, "bot": {"name": "Googlebot"}}),
        ({"isBot": None, "bot": None}, {"isBot": True, "bot": {"name": "Googlebot"}}),
        ({"bot": {"name": "Mine"}}, {"isBot": True, "bot": {"name": "Mine"}}),
        ({"bot": {"url": "u", "name": ""}}, {"isBot": True, "bot": {"url": "u", "name": "Googlebot"}}),
        ({"bot": True}, {"isBot": True, "bot": True}),
    ],
)
async def test_what_was_sent_stays(hook: Running, sent: dict[str, Any], found: dict[str, Any]) -> None:
    context = await hook.context({"userAgent": agents.GOOGLEBOT, **sent})
    assert {key: context[key] for key in found} == found


@pytest.mark.parametrize("record", [True, False])
async def test_dropped_they_are_discarded_with_their_name_and_nothing_is_marked(
    loaded: None, record: bool
) -> None:
    async with running(Bots, {"action": "drop", "record": record}) as hook:
        crawled, seen = (
            received({"type": "track", "context": {"userAgent": agent}})
            for agent in (agents.GOOGLEBOT, agents.SAFARI)
        )
        before = crawled.line()
        found = await hook(crawled, seen)
    assert found == [Discard("bot", "Googlebot, by its user agent", record), None]
    assert crawled.line() == before


@given(
    event=events(
        {
            "userAgent": st.sampled_from([agents.GOOGLEBOT, agents.SAFARI]),
            "bot": st.just({"name": ""}),
            "isBot": st.booleans(),
        }
    ),
    action=st.sampled_from(["mark", "drop"]),
)
def test_any_event_comes_through_with_nothing_but_the_mark_added(
    parsers: dict[str, Parser], event: dict[str, Any], action: str
) -> None:
    async def through() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cdpd.hooks.bots.load_parser", lambda: parsers["native"])
            async with running(Bots, {"action": action}) as hook:
                found = received(event)
                await hook(found, source=SERVER)
        marks = ("context.isBot", "context.bot", "context.bot.name") if action == "mark" else ()
        assert changed(event, found, *marks) == []

    anyio.run(through)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"patterns": ["ok", "("]},
            "patterns[1]: '(' is no regular expression: missing ), unterminated subpattern",
        ),
        ({"allow": ["a|"]}, "allow[0]: 'a|' matches an empty text, and so everything"),
        ({"action": "block"}, 'expected "mark" or "drop", found "block"'),
        ({"pattern": []}, 'did you mean "patterns"?'),
    ],
)
def test_options_that_cannot_be_meant_are_faults_of_the_configuration(
    options: dict[str, Any], message: str
) -> None:
    [fault] = check_shape(options, Bots.Config, decode)
    assert message in f"{fault.message} {fault.suggestion}"
