"""How alerts stand: for `cdpd status`, which names those that fire, and for `cdpd alerts ls`, which shows all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from cdpd.alerts.channels import channels_of
from cdpd.alerts.judging import AlertState
from cdpd.alerts.reading import Reading
from cdpd.alerts.store import Key
from cdpd.alerts.watched import Watched
from cdpd.config.alerts import AlertConfig
from cdpd.timestamp import format_time


class Report(Struct, frozen=True):
    """What it is made of."""

    alerts: Mapping[str, AlertConfig]
    watched: Mapping[Key, Watched]
    states: Mapping[Key, AlertState]
    readings: Mapping[Key, Reading]
    waiting: Mapping[str, int]
    """Channel → messages that are not delivered."""
    problems: Mapping[str, str]
    """Channel → why its first one is not."""
    problem: str | None
    """What keeps alerts from being judged or stored."""

    def brief(self) -> dict[str, Any]:
        """For `cdpd status`: `watched`, `firing`, `unsent`, `problem`."""
        firing = [self._one(each) for key, each in self.watched.items() if self._fires(key)]
        return {
            "watched": len(self.watched),
            "firing": firing,
            "unsent": self._unsent(),
            "problem": self.problem,
        }

    def whole(self) -> dict[str, Any]:
        """For `cdpd alerts ls`: `alerts`, an entry for each alert and thing that it watches; `unsent`, `problem`."""
        rows = [self._one(each) for each in self.watched.values()]
        named = {each.name for each in self.watched.values()}
        for name, alert in self.alerts.items():
            if name not in named:
                state = "nothing to watch" if alert.enabled else "disabled"
                rows.append({"alert": name, "about": None, "when": alert.when, "state": state})
        return {"alerts": rows, "unsent": self._unsent(), "problem": self.problem}

    def _fires(self, key: Key) -> bool:
        return key in self.states and self.states[key].fires

    def _one(self, each: Watched) -> dict[str, Any]:
        state, reading = self.states.get(each.key), self.readings.get(each.key)
        since = None if state is None else state.began_ms
        word = "unknown" if reading is None or reading.holds is None else "well"
        if state is not None and state.fires:
            word = "firing"
        elif since is not None:
            word = "waiting"
        return {
            "alert": each.name,
            "about": each.subject or None,
            "when": each.alert.when,
            "state": word,
            "since": None if since is None else format_time(since),
            "now": None if reading is None else reading.text,
            "to": channels_of(each.name, each.alert),
        }

    def _unsent(self) -> list[dict[str, Any]]:
        return [
            {"channel": channel, "messages": n, "problem": self.problems.get(channel)}
            for channel, n in self.waiting.items()
        ]
