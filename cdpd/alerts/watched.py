"""What the configuration's alerts watch, one by one, and how far they look back. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from cdpd.alerts.counts import SLOT_MS
from cdpd.config.alerts import AlertConfig, Condition
from cdpd.config.model import Config

_WINDOWS: Final = {"volume_change": 2}
"""How many windows a condition compares, where it is not one."""


class Watched(Struct, frozen=True):
    """One alert and one thing that it watches."""

    name: str
    alert: AlertConfig
    condition: Condition
    subject: str
    """Destination or source; "" for the disk."""

    @property
    def key(self) -> tuple[str, str]:
        """Its name and its subject."""
        return self.name, self.subject


def watched(config: Config) -> Iterator[Watched]:
    """All that is to be watched."""
    for name, alert in config.alerts.items():
        if alert.enabled:
            condition = alert.condition
            for subject in _subjects(config, alert, condition):
                yield Watched(name, alert, condition, subject)


def _subjects(config: Config, alert: AlertConfig, condition: Condition) -> list[str]:
    match condition.kind.about:
        case "disk":
            return [""]
        case "source":
            known = {name: source.enabled for name, source in config.sources.items()}
        case _:
            known = {
                name: bool(options.get("enabled", True)) for name, options in config.destinations.items()
            }
    if alert.named is None:
        return [name for name, enabled in known.items() if enabled]
    return [name for name in alert.named if name in known]


def looked_back_at(alerts: Mapping[tuple[str, str], Watched]) -> int:
    """Milliseconds: the longest time that one of them looks back, and a bit."""
    longest = max(
        (w.alert.over_seconds * _WINDOWS.get(w.condition.kind.name, 1) for w in alerts.values()), default=0.0
    )
    return round(longest * 1000) + 2 * SLOT_MS
