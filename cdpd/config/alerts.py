"""[alerts.NAME], and the language of its `when`: what is watched, and from which limit on it is to be told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from cdpd.config.duration import parse_duration
from cdpd.config.problem import did_you_mean
from cdpd.config.size import parse_size
from cdpd.secret import Secret

SHORTEST: Final = 300.0
LONGEST: Final = 7 * 86400.0
"""Seconds that `over` may be."""
About = Literal["destination", "source", "disk"]
Unit = Literal["percent", "events", "seconds", "bytes"]


class AlertConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[alerts.NAME]"""

    when: str
    """What to tell of, like `success_rate < 95%` or `lag > 15m`; the table below has all conditions."""
    destination: str | list[str] | None = None
    """Which to watch, each by itself. Default: every one that is enabled."""
    source: str | list[str] | None = None
    """Likewise, for conditions of sources."""
    over: str | None = None
    """The window in which events are counted, `5m` to `7d`. Default: `1h`; of `volume_change` `24h`."""
    hold: str = field(name="for", default="0s")
    """How long it has to hold, without a break, before it is told."""
    resolve_after: str | None = None
    """How long it must not hold, without a break, before it counts as over. Default: `over`, else `5m`."""
    at_least: Annotated[int, Meta(ge=1)] = 1
    """Of shares and changes: with fewer events than this in the window there is nothing to judge."""
    to: list[str] = []
    """Destinations that get an event `Alert Fired`, and `Alert Resolved` when it is over."""
    webhook: Secret | None = None
    """An address that gets the same as JSON (POST) with a `text`, as Slack and Mattermost want it."""
    note: str = ""
    """Goes into the message, for whoever reads it: what to do, or where that is written."""
    enabled: bool = True
    """False: it is not watched."""

    def __post_init__(self) -> None:
        if self.webhook is not None:
            parts = urlsplit(self.webhook.reveal())
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("webhook: write an address like https://hooks.example.com/…")

    @property
    def named(self) -> list[str] | None:
        """The destinations or sources that it names; None: each."""
        given = self.source if self.destination is None else self.destination
        return [given] if isinstance(given, str) else given

    @property
    def condition(self) -> Condition:
        """`when`, understood. Raises ValueError."""
        return parse_condition(self.when)

    @property
    def over_seconds(self) -> float:
        """The window; 0 where its condition has none."""
        kind = self.condition.kind
        text = self.over if self.over is not None else kind.over
        return parse_duration(text) if kind.over and text else 0.0

    @property
    def hold_seconds(self) -> float:
        return parse_duration(self.hold)

    @property
    def resolve_seconds(self) -> float:
        if self.resolve_after is not None:
            return parse_duration(self.resolve_after)
        return self.over_seconds or 300.0


class Kind(Struct, frozen=True):
    """What can be watched."""

    name: str
    about: About
    doc: str
    example: str
    units: tuple[Unit, ...] = ()
    """Of its limit; none for a word that stands alone."""
    operators: tuple[str, ...] = ()
    over: str | None = None
    """The usual window; None: it is about this moment."""
    share: bool = False
    """Whether `at_least` says something about it."""


_BELOW: Final = ("<", "<=")
_ABOVE: Final = (">", ">=")
KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "success_rate",
            "destination",
            "Delivered events among those that were delivered or refused for good (parked). Events that a filter left "
            "out are neither, nor are those that are still tried again: `failing` and `lag` tell of them.",
            "success_rate < 95%",
            ("percent",),
            _BELOW,
            "1h",
            share=True,
        ),
        Kind(
            "newly_parked",
            "destination",
            "Events that were parked within the window.",
            "newly_parked > 100",
            ("events",),
            _ABOVE,
            "1h",
        ),
        Kind("parked", "destination", "Events that are parked.", "parked > 1000", ("events",), _ABOVE),
        Kind(
            "lag",
            "destination",
            "How far it is behind: events in the archive beyond its cursor, or the age of the oldest one that it has "
            "not finished.",
            "lag > 15m",
            ("seconds", "events"),
            _ABOVE,
        ),
        Kind(
            "failing",
            "destination",
            "It does not deliver, whatever the reason: events are tried again, its configuration is refused, or it has "
            "stopped. Paused by hand does not count.",
            "failing",
        ),
        Kind(
            "misconfigured",
            "destination",
            "It has paused by itself: the vendor refuses its configuration or credentials (or, in strict order, an "
            "event).",
            "misconfigured",
        ),
        Kind("paused", "destination", "It is paused, by hand or because it is misconfigured.", "paused"),
        Kind("stopped", "destination", "It has stopped, and needs a person.", "stopped"),
        Kind(
            "volume",
            "source",
            "Events received within the window, before any hook.",
            "volume < 100",
            ("events",),
            (*_BELOW, *_ABOVE),
            "1h",
        ),
        Kind(
            "volume_change",
            "source",
            "How much more or less was received in the window than in the one before, as a share of that one. "
            "Where nothing was received before, there is nothing to judge.",
            "volume_change > 40%",
            ("percent",),
            _ABOVE,
            "24h",
            share=True,
        ),
        Kind(
            "discarded_share",
            "source",
            "Events in `discarded` among those received, both within the window; duplicates do not count.",
            "discarded_share > 5%",
            ("percent",),
            _ABOVE,
            "1h",
            share=True,
        ),
        Kind(
            "disk_free",
            "disk",
            "What is free on the data folder's disk.",
            "disk_free < 10GiB",
            ("bytes", "percent"),
            _BELOW,
        ),
        Kind("disk_full", "disk", "New events are refused: less is free than `[log] min_free`.", "disk_full"),
    )
}
"""By name, in the order in which they are shown."""


class Condition(Struct, frozen=True):
    """A `when`, understood."""

    kind: Kind
    operator: str = ""
    limit: Fraction = Fraction(0)
    """Percent, events, seconds or bytes; exact, as it was written."""
    unit: Unit = "events"

    def holds(self, value: Fraction) -> bool:
        """Whether the value is beyond the limit."""
        match self.operator:
            case "<":
                return value < self.limit
            case "<=":
                return value <= self.limit
            case ">":
                return value > self.limit
            case _:
                return value >= self.limit


class NoCondition(ValueError):
    """What stands in `when` is none; `hint`: what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


_FORM: Final = re.compile(r"\s*([A-Za-z_]+)\s*(?:([<>=!]+)\s*(\S.*?))?\s*")
_PERCENT: Final = re.compile(r"(\d{1,7}(?:\.\d{1,6})?) ?%", re.ASCII)
_NUMBER: Final = re.compile(r"(\d{1,3}(?:[_,]\d{3})+|\d{1,15})(?: ?events?)?", re.ASCII)
_SHOWN: Final[Mapping[Unit, str]] = {
    "percent": "a percentage like 5%",
    "events": "a number of events like 1000",
    "seconds": "a duration like 15m",
    "bytes": "a size like 10GiB",
}


def parse_condition(text: str) -> Condition:
    """A `when` as it is written. Raises NoCondition."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise NoCondition(f"{text!r} is no condition: write one like {KINDS['success_rate'].example!r}")
    name, operator, limit = match.groups()
    kind = KINDS.get(name)
    if kind is None:
        raise NoCondition(
            f"there is no condition {name!r}", did_you_mean(name, KINDS) or f"there are: {', '.join(KINDS)}"
        )
    if not kind.units:
        if operator:
            raise NoCondition(f"{name} has no limit", f'write when = "{name}"')
        return Condition(kind)
    if not operator:
        raise NoCondition(f"{name} needs a limit", f'like when = "{kind.example}"')
    if operator not in kind.operators:
        raise NoCondition(
            f"{name} takes {' or '.join(kind.operators)}, not {operator}", f"like {kind.example!r}"
        )
    for unit in kind.units:
        found = _limit(limit, unit)
        if found is not None:
            return Condition(kind, operator, found, unit)
    raise NoCondition(
        f"{limit!r} is no limit of {name}: write {' or '.join(_SHOWN[unit] for unit in kind.units)}",
        f"write {limit}%" if kind.units == ("percent",) and _limit(limit, "events") is not None else "",
    )


def _limit(text: str, unit: Unit) -> Fraction | None:
    """A limit in this unit, or None where it is written in another."""
    if unit == "percent":
        match = _PERCENT.fullmatch(text)
        return None if match is None else Fraction(match[1])
    if unit == "events":
        match = _NUMBER.fullmatch(text)
        return None if match is None else Fraction(re.sub("[_,]", "", match[1]))
    try:
        return Fraction(str(parse_duration(text))) if unit == "seconds" else Fraction(parse_size(text))
    except ValueError:
        return None
