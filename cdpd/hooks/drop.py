"""Drops events by source, type and name: whatever one of its rules describes is discarded as `dropped`.

    [hooks.drop]
    rules = [
      { event = "Debug *" },
      { source = "website", type = ["page", "screen"] },
    ]

A rule describes an event when each of its conditions does; a condition that is a list, when one of it does.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from cdpd.config.problem import did_you_mean
from cdpd.event import TYPES, Event
from cdpd.hooks.patterns import globs, listed
from cdpd.hookspecs import Discard, hookimpl
from cdpd.plugins import Plugin, PluginEnv, Source

CODE: Final = "dropped"


class Rule(Struct, forbid_unknown_fields=True, frozen=True):
    """What is to be dropped."""

    source: str | list[str] | None = None
    """Names of sources; `*`, `?` and `[…]` match as in file names, here and below."""
    type: str | list[str] | None = None
    """Of identify, track, page, screen, group, alias."""
    event: str | list[str] | None = None
    """Names of track events."""
    name: str | list[str] | None = None
    """Names of pages and screens."""

    def __post_init__(self) -> None:
        if all(condition is None for condition in (self.source, self.type, self.event, self.name)):
            raise ValueError(
                "a rule needs a condition (source, type, event or name); this would drop everything"
            )
        for kind in listed(self.type):
            if kind not in TYPES:
                hint = did_you_mean(kind, TYPES) or f"there are {', '.join(TYPES)}"
                raise ValueError(f"there is no type {kind!r}; {hint}")


class Drop(Plugin):
    """Drops events by source, type and name."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        rules: list[Rule] = []
        """What is dropped; each rule has `source`, `type`, `event` or `name`, and all that it has must fit."""
        record: bool = True
        """False: dropped events leave nothing in the stream `discarded`, but are counted."""

    def __init__(self, config: Any, env: PluginEnv) -> None:
        super().__init__(config, env)
        self._rules = [_Compiled(rule, n, config.record) for n, rule in enumerate(config.rules, 1)]

    @hookimpl
    def cdpd_filter(self, event: Event, source: Source) -> Discard | None:
        for rule in self._rules:
            if rule.describes(event, source):
                return rule.discard
        return None


class _Compiled:
    """A rule, ready to be asked."""

    def __init__(self, rule: Rule, number: int, record: bool) -> None:
        self._sources = globs(rule.source)
        self._types = None if rule.type is None else frozenset(listed(rule.type))
        self._events = globs(rule.event)
        self._names = globs(rule.name)
        self.discard = Discard(CODE, f"rule {number} of the drop hook: {_told(rule)}", record)

    def describes(self, event: Event, source: Source) -> bool:
        if self._sources is not None and not self._sources(source.name):
            return False
        kind = event.type
        if self._types is not None and kind not in self._types:
            return False
        if self._events is not None and not (kind == "track" and self._events(event.event or "")):
            return False
        return self._names is None or (kind in ("page", "screen") and bool(self._names(event.name or "")))


def _told(rule: Rule) -> str:
    conditions = {key: getattr(rule, key) for key in Rule.__struct_fields__}
    return ", ".join(f"{key} = {value!r}" for key, value in conditions.items() if value is not None)
