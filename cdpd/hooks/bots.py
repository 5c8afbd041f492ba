"""Marks or drops what crawlers and other programs that pose as visitors send, told by their user agent.

    [hooks.bots]
    action = "mark"                   # or "drop"
    patterns = ["AcmeMonitor/"]       # yours, besides those known
    allow = ["Chrome-Lighthouse"]     # never bots

Marked, an event has `context.isBot = true` and `context.bot.name`, for filters (FQL: `context.isBot = true`) and
queries; what the client sent under these names stays. Dropped, it is discarded as `bot`.

The user agent is `context.userAgent`; where that is missing, the request's, but only for events from people's devices
(devices.py): a server's library is no bot. Who is one: first `allow` and `patterns`, then browsers without a
screen (`headless`), then the rules of the package ua-parser, and names that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, Final, Literal

import anyio.to_thread
import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from cdpd.event import Event
from cdpd.hooks.agents.describe import is_spider
from cdpd.hooks.agents.parser import LONGEST, Parser, load_parser
from cdpd.hooks.devices import from_device
from cdpd.hooks.patterns import compiled
from cdpd.hooks.remembered import Remembered, Steps
from cdpd.hookspecs import Discard, hookimpl
from cdpd.plugins import Plugin, PluginEnv, Source
from cdpd.section import Section

CODE: Final = "bot"

_HEADLESS: Final = re.compile(
    r"Headless(?:Chrome|Edg|Firefox)\w*|PhantomJS|SlimerJS|Puppeteer|Playwright|Selenium|Cypress|jsdom",
    re.IGNORECASE,
)
_NAMED: Final = re.compile(
    r"Mediapartners-Google|Google-Read-Aloud|Chrome-Lighthouse|GTmetrix|PTST(?=/)|PingdomPageSpeed|PingdomTMS"
    r"|StatusCake|Site24x7|DatadogSynthetics|Catchpoint|HubSpot|BingPreview|Bytespider|Diffbot|ImagesiftBot|Timpibot"
    r"|meta-external\w+|ChatGPT-User|OAI-SearchBot|Claude-\w+|Perplexity\w*|Google-Extended|cohere-\w+|ia_archiver",
    re.IGNORECASE,
)
"""Crawlers and monitors that ua-parser takes for people's browsers, or did when this was written."""
_LIKELY: Final = re.compile(r"[a-z0-9.-]*(?:(?<!cu)bot|crawler|spider)(?![a-z0-9])", re.IGNORECASE)
"""What calls itself one. Cubot makes phones."""


class _Context(Struct, rename="camel"):
    """What is looked at in `context`."""

    user_agent: Raw | UnsetType = UNSET
    library: Raw | UnsetType = UNSET


_look_into: Final = msgspec.json.Decoder(_Context).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


class Bots(Plugin):
    """Marks or drops what crawlers and other bots send."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        action: Literal["mark", "drop"] = "mark"
        """`mark`: sets `context.isBot` and `context.bot.name`. `drop`: discards the event as `bot`."""
        headless: bool = True
        """Browsers without a screen (HeadlessChrome, PhantomJS …) are bots. False: where tests of your own use them."""
        patterns: list[str] = []
        """Regular expressions of user agents that are bots too; they match anywhere and in any case."""
        allow: list[str] = []
        """Regular expressions of user agents that are no bots, whatever else says so."""
        record: bool = True
        """False: dropped events leave nothing in the stream `discarded`, but are counted."""
        cache: Annotated[int, Meta(ge=1000, le=1_000_000)] = 10_000
        """How many user agents are remembered; each takes about 0.5 KB."""

        def __post_init__(self) -> None:
            compiled("patterns", self.patterns)
            compiled("allow", self.allow)

    def __init__(self, config: Any, env: PluginEnv) -> None:
        super().__init__(config, env)
        self._drops: bool = config.action == "drop"
        self._allowed = compiled("allow", config.allow)
        self._patterns = compiled("patterns", config.patterns)
        if config.headless:
            self._patterns.append(_HEADLESS)
        self._parse: Parser
        self._names: Remembered[str, str] = Remembered(config.cache, self._find)
        """User agent → the bot's name, "" where it is none."""

    @hookimpl
    async def cdpd_startup(self) -> None:
        self._parse = await anyio.to_thread.run_sync(load_parser)

    @hookimpl
    def cdpd_prepare(self, events: Sequence[Event], source: Source) -> Awaitable[None] | None:
        known = self._names
        new: dict[str, None] = {}
        for event in events:
            agent = _agent(event, source)
            if agent and agent not in known:
                new[agent] = None
        return self._names.ahead(new, self.env.clock) if new else None

    @hookimpl
    def cdpd_enrich(self, event: Event, source: Source) -> None:
        if self._drops:
            return
        name = self._name(event, source)
        if not name:
            return
        context = event.context
        if context.get("isBot") is None:
            context["isBot"] = True
        bot = context.get("bot")
        if bot is None:
            context["bot"] = {"name": name}
        elif isinstance(bot, Section) and bot.get("name") in (None, ""):
            bot["name"] = name

    @hookimpl
    def cdpd_filter(self, event: Event, source: Source) -> Discard | None:
        if not self._drops:
            return None
        name = self._name(event, source)
        return Discard(CODE, f"{name}, by its user agent", self.config.record) if name else None

    def _name(self, event: Event, source: Source) -> str:
        agent = _agent(event, source)
        return self._names.get(agent) if agent else ""

    def _find(self, agent: str) -> Steps[str]:
        if any(pattern.search(agent) for pattern in self._allowed):
            return ""
        for pattern in (*self._patterns, _NAMED):
            if (match := pattern.search(agent)) is not None:
                return match[0]
        found = yield from self._parse(agent)
        if is_spider(found):
            return found.browser.family if found.browser is not None else "unnamed"
        likely = _LIKELY.search(agent)
        return "" if likely is None else likely[0]


def _agent(event: Event, source: Source) -> str:
    """The first characters of the user agent that counts for this event; "" where there is none."""
    context = event.raw_field("context")
    seen = _look_into(context) if context is not None and bytes(context)[0] == 0x7B else _Context()
    sent = b"null" if seen.user_agent is UNSET else bytes(seen.user_agent)
    if sent not in (b"null", b'""'):
        return _decode_text(sent)[:LONGEST] if sent[0] == 0x22 else ""
    assert event.received is not None
    own = event.received.via.user_agent
    return own[:LONGEST] if own and from_device(event, source, seen.library) else ""
