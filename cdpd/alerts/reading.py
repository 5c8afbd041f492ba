"""What a condition is judged by: the value at this moment, in words too, and whether it is beyond the limit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from msgspec import Struct

from cdpd.alerts.counts import SLOT_MS, Counts, What
from cdpd.alerts.words import amount, duration, events
from cdpd.config.alerts import AlertConfig, Condition
from cdpd.disk import Space


class Seen(Struct, frozen=True):
    """What can be seen at one moment."""

    now_ms: int
    running_ms: int
    """Since when the daemon runs without a longer break."""
    counts: Counts
    counted_ms: int | None
    """From when on all that was received is counted; None: the streams cannot be told of, `why` says why."""
    why: str
    destinations: Mapping[str, Mapping[str, Any]]
    """As Delivery.status tells of them."""
    space: Space | None
    floor: int
    """Bytes that are to stay free."""


class Reading(Struct, frozen=True):
    """Of one alert about one thing."""

    holds: bool | None
    """None: it cannot be known now."""
    text: str
    """The value with what it is made of; or why it is not known."""
    value: float | None = None
    """In the unit of the limit; None of a condition that is a word."""


def read(alert: AlertConfig, condition: Condition, subject: str, watched_ms: int, seen: Seen) -> Reading:
    """`subject`: the destination or source; `watched_ms`: since when the alert watches it."""
    match condition.kind.about:
        case "source":
            return _of_source(alert, condition, subject, watched_ms, seen)
        case "disk":
            return _of_disk(condition, seen)
    told = seen.destinations.get(subject)
    if told is None:
        return _unknown("it has not started yet")
    return _of_destination(alert, condition, subject, told, seen)


def _unknown(why: str) -> Reading:
    return Reading(None, why)


def _value(condition: Condition, value: Fraction, text: str) -> Reading:
    return Reading(condition.holds(value), text, float(value))


# -- destinations ------------------------------------------------------------------------------------------


def _of_destination(
    alert: AlertConfig, condition: Condition, name: str, told: Mapping[str, Any], seen: Seen
) -> Reading:
    over = alert.over_seconds
    match condition.kind.name:
        case "success_rate":
            delivered = seen.counts.latest("delivered", name, over, seen.now_ms)
            refused = seen.counts.latest("parked", name, over, seen.now_ms)
            tried = delivered + refused
            if tried < alert.at_least:
                return _unknown(f"{events(tried)} tried in {duration(over)}")
            rate = Fraction(delivered * 100, tried)
            text = f"{amount(rate, 'percent')}, {refused:,} of {events(tried)} refused in {duration(over)}"
            return _value(condition, rate, text)
        case "newly_parked":
            refused = seen.counts.latest("parked", name, over, seen.now_ms)
            return _value(condition, Fraction(refused), f"{events(refused)} parked in {duration(over)}")
        case "parked":
            return _value(condition, Fraction(told["parked"]), f"{events(told['parked'])} parked")
        case "lag":
            return _lag(condition, told)
    return _state(condition.kind.name, told)


def _lag(condition: Condition, told: Mapping[str, Any]) -> Reading:
    behind, seconds = int(told["lag_events"]), told["lag_seconds"]
    if condition.unit == "events":
        return _value(condition, Fraction(behind), f"{events(behind)} behind")
    if seconds is None:
        if behind:
            return _unknown(f"{events(behind)} behind; how old they are cannot be told")
        seconds = 0
    return _value(condition, Fraction(int(seconds)), f"{duration(seconds)} behind, {events(behind)}")


_BY_HAND: Final = "paused by hand"
_STATES: Final[Mapping[str, tuple[str, ...]]] = {
    "failing": ("retrying", "waiting", "stopped", "paused"),
    "misconfigured": ("paused",),
    "paused": ("paused", _BY_HAND),
    "stopped": ("stopped",),
}
"""The word of a condition → what `cdpd status` calls such a destination."""


def _state(word: str, told: Mapping[str, Any]) -> Reading:
    state = str(told["state"])
    if state == "starting":
        return _unknown("it starts")
    holds = state in _STATES[word]
    # Up to the first colon: what follows are the vendor's own words, which may quote an event.
    problem = str(told.get("problem") or "").partition(": ")[0]
    return Reading(holds, f"{state}: {problem}" if holds and problem else state)


# -- sources -----------------------------------------------------------------------------------------------


def _of_source(alert: AlertConfig, condition: Condition, name: str, watched_ms: int, seen: Seen) -> Reading:
    if seen.counted_ms is None:
        return _unknown(seen.why)
    over, now = alert.over_seconds, seen.now_ms
    match condition.kind.name:
        case "volume":
            return _volume(condition, name, over, watched_ms, seen)
        case "volume_change":
            return _change(alert, condition, name, over, seen)
    received: What = "received"
    came = seen.counts.latest(received, name, over, now)
    if came < alert.at_least:
        return _unknown(f"{events(came)} received in {duration(over)}")
    turned_away = seen.counts.latest("discarded", name, over, now)
    share = Fraction(turned_away * 100, came)
    text = f"{amount(share, 'percent')}, {turned_away:,} of {events(came)} discarded in {duration(over)}"
    return _value(condition, share, text)


def _volume(condition: Condition, name: str, over: float, watched_ms: int, seen: Seen) -> Reading:
    assert seen.counted_ms is not None
    low = condition.operator in ("<", "<=")
    came = seen.counts.latest("received", name, over, seen.now_ms, within=not low)
    reading = _value(condition, Fraction(came), f"{events(came)} received in {duration(over)}")
    begun = max(watched_ms, seen.running_ms, seen.counted_ms)
    if low and reading.holds and seen.now_ms - begun < over * 1000:
        # Nothing can come while nobody is there to take it.
        return _unknown(f"{reading.text}; watched for {duration((seen.now_ms - begun) // 1000)} only")
    return reading


def _change(alert: AlertConfig, condition: Condition, name: str, over: float, seen: Seen) -> Reading:
    """Source of the rule: spec/connections.md §7, Alerts."""
    assert seen.counted_ms is not None
    now = seen.counts.whole("received", name, over, seen.now_ms)
    before = seen.counts.whole("received", name, over, seen.now_ms, back=1)
    begun = seen.now_ms // SLOT_MS * SLOT_MS - 2 * round(over * 1000)
    if seen.counted_ms > begun:
        return _unknown(
            f"counted for {duration((seen.now_ms - seen.counted_ms) // 1000)} of {duration(2 * over)}"
        )
    if before < alert.at_least:
        return _unknown(f"{events(before)} in the {duration(over)} before")
    change = Fraction(abs(now - before) * 100, before)
    sign = "-" if now < before else "+"
    text = f"{sign}{amount(change, 'percent')}: {events(now)} received in {duration(over)}, {before:,} before"
    return _value(condition, change, text)


# -- the disk ----------------------------------------------------------------------------------------------


def _of_disk(condition: Condition, seen: Seen) -> Reading:
    space = seen.space
    if space is None:
        return _unknown("how much of the disk is free cannot be told")
    free = amount(Fraction(space.free), "bytes")
    if not condition.kind.units:
        floor = amount(Fraction(seen.floor), "bytes")
        return Reading(space.free < seen.floor, f"{free} free, and {floor} are to stay free")
    if condition.unit == "bytes":
        return _value(condition, Fraction(space.free), f"{free} free")
    part = Fraction(space.free * 100, max(space.total, 1))
    return _value(condition, part, f"{amount(part, 'percent')} free, {free}")
