"""Fills in `context.device`, `context.os` and `context.browser` from `context.userAgent`.

| | filled in |
| --- | --- |
| `context.device` | `type` (mobile, tablet, desktop, tv, console or bot), `manufacturer`, `model` |
| `context.os` | `name`, `version` |
| `context.browser` | `name`, `version` |

Only what is missing: absent, null or "". A version goes with a name, a model with its manufacturer: where the event
has the one and it is not what was found, the other stays missing too. Of Chromium browsers, whose user agents are
frozen, `context.userAgentData` counts first. What is frozen (`Windows NT 10.0`, `Mac OS X 10_15_7`,
`Android 10; K`) and not told otherwise stays missing. `device.type` is never `ios` or `android`, which are what
mobile libraries say of devices whose ids they send (unify.md §1).

The first 512 characters are read. The rules are those of the package ua-parser; see agents/ for the cost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import anyio.to_thread
import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from cdpd.event import Event
from cdpd.hooks.agents.describe import Facts, describe
from cdpd.hooks.agents.hints import NO_HINTS, read_hints
from cdpd.hooks.agents.parser import LONGEST, Parser, load_parser
from cdpd.hooks.remembered import Remembered, Steps
from cdpd.hookspecs import hookimpl
from cdpd.plugins import Plugin, PluginEnv
from cdpd.section import Section

_LONGEST_HINTS: Final = 2048
"""Bytes of `userAgentData`; longer ones are not looked at."""
_PAIRS: Final = (("name", "version"), ("manufacturer", "model"))
"""What belongs together: the one is filled in only beside the other's same value."""


class _Context(Struct, rename="camel"):
    """What is looked at in `context`."""

    user_agent: Raw | UnsetType = UNSET
    user_agent_data: Raw | UnsetType = UNSET
    device: Raw | UnsetType = UNSET
    os: Raw | UnsetType = UNSET
    browser: Raw | UnsetType = UNSET


_look_into: Final = msgspec.json.Decoder(_Context).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode

_Key = tuple[bytes, bytes]
"""The JSON texts of a user agent and of its hints."""


class _Found(Struct, frozen=True):
    """What is filled in for a key."""

    sections: dict[str, dict[str, str]]
    text: bytes
    """The same as it is put to the end of a context that has nothing of it."""


class UserAgent(Plugin):
    """Fills in device, operating system and browser from the user agent and client hints."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        fields: list[Literal["device", "os", "browser"]] = field(
            default_factory=lambda: ["device", "os", "browser"]
        )
        """What of `context` is filled in: `device` (type, manufacturer, model), `os`, `browser` (name, version)."""
        cache: Annotated[int, Meta(ge=1000, le=1_000_000)] = 10_000
        """How many user agents are remembered; each takes about 1 KB."""

        def __post_init__(self) -> None:
            if not self.fields:
                raise ValueError("fields: the list is empty, so nothing would be filled in")

    def __init__(self, config: Any, env: PluginEnv) -> None:
        super().__init__(config, env)
        self._fields: tuple[str, ...] = tuple(dict.fromkeys(config.fields))
        self._parse: Parser
        self._found: Remembered[_Key, _Found] = Remembered(config.cache, self._find)

    @hookimpl
    async def cdpd_startup(self) -> None:
        self._parse = await anyio.to_thread.run_sync(load_parser)

    @hookimpl
    def cdpd_prepare(self, events: Sequence[Event]) -> Awaitable[None] | None:
        known = self._found
        new: dict[_Key, None] = {}
        for event in events:
            context = event.raw_field("context")
            if context is not None and bytes(context)[0] == 0x7B:
                key = _key(_look_into(context))
                if key is not None and key not in known:
                    new[key] = None
        return self._found.ahead(new, self.env.clock) if new else None

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        context = event.raw_field("context")
        if context is None:
            return
        text = bytes(context)
        if text[0] != 0x7B:
            return
        seen = _look_into(context)
        key = _key(seen)
        if key is None:
            return
        found = self._found.get(key)
        if not found.text:
            return
        if all(getattr(seen, name) is UNSET for name in self._fields):
            # Put at the end, without taking the section apart.
            event.put_raw("context", Raw(b"%b,%b}" % (text[:-1], found.text)))
            return
        for name, facts in found.sections.items():
            _fill(event.context, name, facts)

    def _find(self, key: _Key) -> Steps[_Found]:
        agent = _decode_text(key[0])[:LONGEST]
        hints = read_hints(key[1]) if key[1] else NO_HINTS
        facts: Facts = yield from describe(agent, hints, self._parse)
        sections = {name: getattr(facts, name) for name in self._fields if getattr(facts, name)}
        return _Found(sections, bytes(_encode(sections))[1:-1])


def _key(seen: _Context) -> _Key | None:
    """What the facts depend on; None where there is no user agent."""
    if seen.user_agent is UNSET:
        return None
    agent = bytes(seen.user_agent)
    if agent[0] != 0x22 or len(agent) == 2:
        return None
    if len(agent) > LONGEST:
        agent = _encode(_decode_text(agent)[:LONGEST])
    if seen.user_agent_data is UNSET:
        return agent, b""
    hints = bytes(seen.user_agent_data)
    return agent, hints if len(hints) <= _LONGEST_HINTS else b""


def _fill(context: Section, name: str, facts: Mapping[str, str]) -> None:
    """Put the facts that are missing into a section of the context, unless what is there is of another kind."""
    own = context.get(name)
    if own is None or own == "":
        context[name] = facts
        return
    if not isinstance(own, Section):
        return
    there = {key: own[key] for key in own if own[key] not in (None, "")}
    for pair in _PAIRS:
        if any(key in there and not _same(there[key], facts.get(key)) for key in pair):
            there |= dict.fromkeys(pair)
    for key, fact in facts.items():
        if key not in there:
            own[key] = fact


def _same(own: object, fact: str | None) -> bool:
    return isinstance(own, str) and fact is not None and own.casefold() == fact.casefold()
