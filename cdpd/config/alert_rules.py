"""What the types cannot say of [alerts], and what in it works and may disappoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cdpd.config.alerts import LONGEST, SHORTEST, AlertConfig, Kind, NoCondition, parse_condition
from cdpd.config.duration import parse_duration
from cdpd.config.locate import Path
from cdpd.config.model import Config
from cdpd.config.problem import did_you_mean
from cdpd.config.rules import table
from cdpd.config.shape import Fault

_ABOUT: Final = {"destination": "destinations", "source": "sources"}


def broken_alert_rules(data: dict[str, Any]) -> Iterator[Fault]:
    """Every rule that [alerts] breaks."""
    for name in table(data, "alerts"):
        alert = table(data, "alerts", name)
        path: Path = ("alerts", name)
        kind = None
        when = alert.get("when")
        if isinstance(when, str):
            try:
                kind = parse_condition(when).kind
            except NoCondition as error:
                yield Fault((*path, "when"), str(error), error.hint)
        if kind is not None:
            yield from _fitting(path, alert, kind)
        for key in ("for", "resolve_after", "over"):
            if isinstance(alert.get(key), str):
                yield from _duration((*path, key), alert[key], window=key == "over")
        yield from _known(data, path, alert)


def _fitting(path: Path, alert: dict[str, Any], kind: Kind) -> Iterator[Fault]:
    """Keys that say nothing about this condition."""
    for key in _ABOUT:
        if key in alert and key != kind.about:
            hint = f"write {kind.about} = … instead" if kind.about in _ABOUT else "leave it out"
            owner = "the disk" if kind.about == "disk" else f"{kind.about}s"
            yield Fault((*path, key), f"{kind.name} is about {owner}: {key} means nothing here", hint, True)
    if "over" in alert and kind.over is None:
        message = f"{kind.name} is about this moment, not a window of time"
        yield Fault((*path, "over"), message, "`for` says how long it has to hold", True)
    if "at_least" in alert and not kind.share:
        yield Fault((*path, "at_least"), f"{kind.name} is no share: at_least means nothing here", "", True)


def _duration(path: Path, text: str, *, window: bool) -> Iterator[Fault]:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        yield Fault(path, str(error))
        return
    if window and not SHORTEST <= seconds <= LONGEST:
        yield Fault(path, f"{text!r}: a window is 5m at least and 7d at most")


def _known(data: dict[str, Any], path: Path, alert: dict[str, Any]) -> Iterator[Fault]:
    """Names that name nothing."""
    for key, section in (("destination", "destinations"), ("source", "sources"), ("to", "destinations")):
        given = alert.get(key)
        known = table(data, section)
        for i, name in enumerate(given if isinstance(given, list) else [given]):
            if isinstance(name, str) and name not in known:
                at: Path = (*path, key, i) if isinstance(given, list) else (*path, key)
                hint = did_you_mean(name, known) or f"configured {section}: {', '.join(known) or 'none'}"
                yield Fault(at, f"there is no {section[:-1]} {name!r}", hint)
        if given == [] and key != "to":
            yield Fault((*path, key), f"names no {section[:-1]}", "leave it out for every one")


def alert_risks(config: Config) -> Iterator[Fault]:
    """Alerts that would not reach anybody when they matter; for a configuration without errors."""
    for name, alert in config.alerts.items():
        if not alert.enabled:
            continue
        path: Path = ("alerts", name)
        if not alert.to and alert.webhook is None:
            yield Fault(
                path,
                "this alert is told to nobody: it stands in the daemon's log and in `cdpd status` alone",
                'add to = ["DESTINATION"] or webhook = "https://…"',
                at_key=True,
            )
        yield from _told_to_itself(config, path, alert)
        for i, channel in enumerate(alert.to):
            if config.destinations[channel].get("enabled") is False:
                message = f"the destination {channel} is not enabled: it gets no alert"
                yield Fault((*path, "to", i), message)


def _told_to_itself(config: Config, path: Path, alert: AlertConfig) -> Iterator[Fault]:
    """Where all that hears of a destination's trouble is that destination."""
    if alert.condition.kind.about != "destination" or alert.webhook is not None:
        return
    watched = alert.named if alert.named is not None else list(config.destinations)
    for i, channel in enumerate(alert.to):
        if channel in watched and set(alert.to) == {channel}:
            yield Fault(
                (*path, "to", i),
                f"when {channel} itself is in trouble, this alert of it cannot reach anybody",
                "add a webhook or another destination, or name the others in destination = […]",
            )
