"""What became of an archived event at each destination: today's rules, the stored cursors, and the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.data_folder import state_db
from cdpd.config.load import LoadedConfig
from cdpd.config.plugin_options import Catalogue
from cdpd.delivery import journal
from cdpd.delivery.backoff import pause_delay, retry_delay
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.filters import BY_RULES, FAILED
from cdpd.delivery.journal import Tried
from cdpd.delivery.making import DestinationError, Made, Maker
from cdpd.delivery.parked import Parked, reading
from cdpd.delivery.paused import Paused
from cdpd.delivery.route import (
    BY_INTEGRATIONS,
    CLIENT_SIDE,
    NOT_CONNECTED,
    UNSUPPORTED,
    NotAnEvent,
    Route,
    router_of,
)
from cdpd.delivery.state import StateError
from cdpd.log.single import SingleLine
from cdpd.pipeline.rehearsal import silent
from cdpd.trace.story import Delivered, ParkedAs, State, Try

_RULES: Final = {
    UNSUPPORTED: "it takes no such calls",
    CLIENT_SIDE: "the browser has delivered it there itself",
}
_LUCKY: Final = 0.0
_UNLUCKY: Final = 1.0 - 2.0**-53
"""How a sample falls: the event is in every one, or in none."""
_ENDINGS: Final = ("delivered", "skipped")
_PAUSING: Final = ("bad_config", "bad_credentials")


class Kept(Struct, frozen=True):
    """What state.db has of one event, and of the destinations; read at one moment."""

    cursors: Mapping[str, DeliveryCursor]
    tried: Sequence[Tried]
    parked: Sequence[Parked]
    paused: Mapping[str, Paused]
    heads: Mapping[str, Tried]
    """Destinations for which it waits → what was last tried with the first event in their line."""
    complete_since: int | None
    """Since when the journal has everything, in ms; None: since ever."""


NOTHING_KEPT: Final = Kept({}, [], [], {}, {}, None)


def kept_of(data_dir: Path, message_id: str, line: SingleLine) -> Kept | None:
    """None where there is no state.db yet. Raises StateError."""
    try:
        with reading(state_db(data_dir)) as db:
            if db is None:
                return None
            db.execute("begin")
            cursors, offset = journal.destinations(db), line.position.offset
            names = list(cursors)
            return Kept(
                cursors,
                journal.tried(db, names, offset),
                journal.parked_at(db, names, message_id, offset),
                journal.pauses(db),
                _heads(db, cursors, line),
                journal.complete_since(db),
            )
    except (sqlite3.Error, ValueError) as error:
        raise StateError(f"{state_db(data_dir)} cannot be read: {error}") from error


def _heads(
    db: sqlite3.Connection, cursors: Mapping[str, DeliveryCursor], line: SingleLine
) -> dict[str, Tried]:
    found = {}
    for name, cursor in cursors.items():
        if cursor.low.offset < line.position.offset and not cursor.covers(line.position):
            tries = journal.tried(db, [name], cursor.low.offset)
            if tries and tries[-1].outcome not in _ENDINGS:
                found[name] = tries[-1]
    return found


class Fates:
    """Tells fates by one configuration."""

    def __init__(self, loaded: LoadedConfig, catalogue: Catalogue, clock: Clock) -> None:
        self._made: dict[str, Made | str] = {}
        """By name; a text: why that destination cannot be."""
        maker = Maker(catalogue, loaded.data_dir, clock, silent())
        for name, options in loaded.config.destinations.items():
            try:
                self._made[name] = maker.read(name, options)
            except DestinationError as error:
                self._made[name] = str(error)

    def of(self, line: SingleLine, kept: Kept) -> Iterator[Delivered]:
        """Of each destination: those that are configured, then others that have had to do with it."""
        others = {one.destination for one in kept.tried} | {one.destination for one in kept.parked}
        others -= set(self._made)
        for name in (*self._made, *sorted(others)):
            yield _Fate(name, self._made.get(name), line, kept).told()


class _Fate:
    """One destination and one event."""

    def __init__(self, name: str, made: Made | str | None, line: SingleLine, kept: Kept) -> None:
        self._name = name
        self._made = made
        self._line = line
        self._kept = kept
        self._tried = [one for one in kept.tried if one.destination == name]
        self._parked = next((one for one in kept.parked if one.destination == name), None)
        self._cursor = kept.cursors.get(name)

    def told(self) -> Delivered:
        state, code, text = self._state()
        told = Delivered(self._name, state, code, text)
        told.tries = [_told(one) for one in self._tried]
        if self._parked is not None:
            its = self._parked
            told.parked = ParkedAs(
                its.id, its.at_ms, its.reason, its.status, its.attempts, its.request, its.answer
            )
        if state in ("waiting", "retrying"):
            if self._cursor is not None:
                told.before_it = max(self._line.position.offset - self._cursor.low.offset, 0)
            told.next_ms = self._next_ms() if state == "retrying" else None
            head = self._kept.heads.get(self._name)
            told.first_in_line = None if head is None else _told(head)
        return told

    def _state(self) -> tuple[State, str, str]:
        """The state, the code of a rule, and words where there is more to say."""
        rule, words = self._rule()
        ending = next((one.outcome for one in reversed(self._tried) if one.outcome in _ENDINGS), None)
        if self._parked is not None:
            return "parked", "", words
        if ending == "delivered":
            return "delivered", "", words
        if ending == "skipped":
            return "skipped", "", self._tried[-1].reason or "it had nothing to send for this event"
        if rule == NOT_CONNECTED and not self._tried:
            return "not connected", "", words
        if rule is not None and not self._tried:
            return "filtered", rule, words
        if self._cursor is None:
            return "not begun", "", words or "the daemon has not started it yet"
        if self._cursor.covers(self._line.position):
            return self._finished()
        return ("retrying" if self._tried else "waiting"), "", self._held() or words

    def _finished(self) -> tuple[State, str, str]:
        """Its cursor is past the event, and the journal tells no good ending."""
        if self._tried:
            if self._tried[-1].outcome == "bad_event":
                return "refused", "", "it was parked, and has been dropped since"
            return "done", "", "its cursor is past it; it was moved on (`cdpd destinations reset`)"
        since = self._kept.complete_since
        if since is not None and since > self._line.log_ms:
            return "done", "", "the journal does not go back that far"
        unlucky = self._route(_UNLUCKY)
        if unlucky is not None and unlucky.skip is not None:
            return (
                "filtered",
                unlucky.skip,
                f"the filter {unlucky.by!r} lets a sample through; it was not in it",
            )
        return "passed over", "", "nothing was tried: it began later, or was moved on past this event"

    def _route(self, chance: float) -> Route | None:
        """What today's rules say, where samples fall like this; None where there are no rules, or no event."""
        if not isinstance(self._made, Made):
            return None
        try:
            router = router_of(self._made.kind, self._made.config, chance=lambda: chance)
            return router.route(self._line.text)
        except NotAnEvent:
            return None

    def _rule(self) -> tuple[str | None, str]:
        """The code by which today's rules keep the event from here; None where they do not. And words."""
        made = self._made
        if not isinstance(made, Made):
            return None, "it is not configured any more" if made is None else made
        route = self._route(_LUCKY)
        if route is None:
            return None, "the line is no event"
        if route.skip is None:
            return None, ""
        words = _rule_words(route, made)
        return route.skip, f"today it would not be sent there: {words}" if self._tried else words

    def _held(self) -> str:
        """What holds the whole destination."""
        pause = self._kept.paused.get(self._name)
        if pause is not None:
            return f"the destination was paused by hand{f': {pause.reason}' if pause.reason else ''}"
        if isinstance(self._made, Made) and not self._made.config.enabled:
            return "the destination is disabled"
        return ""

    def _next_ms(self) -> int | None:
        """By when it is tried again where only time decides; the wait has some chance in it."""
        if self._held():
            return None
        last = self._tried[-1]
        ended = last.at_ms + round(last.seconds * 1000)
        if last.outcome == "retry":
            return ended + round(retry_delay(last.attempt, lambda: 1.0) * 1000)
        if last.outcome in _PAUSING:
            return ended + round(pause_delay(last.outcome, last.attempt - 1) * 1000)
        return None


def _told(one: Tried) -> Try:
    return Try(
        one.at_ms,
        one.attempt,
        one.seconds,
        one.events,
        one.outcome,
        one.status,
        one.reason,
        one.answer,
        one.job,
    )


def _rule_words(route: Route, made: Made) -> str:
    """Why an event is not sent, in words."""
    if route.is_object:
        return "objects are for warehouses"
    code = route.skip or NOT_CONNECTED
    if code == NOT_CONNECTED:
        return f"it takes events of: {', '.join(made.config.sources or ()) or 'none'}"
    if code == BY_RULES:
        return f"the filter {route.by!r} keeps it back"
    if code == FAILED:
        return f"the filter {route.by!r} cannot judge it: {route.problem}"
    if code == BY_INTEGRATIONS:
        return f"the event's integrations object keeps it from there (its name in it: {made.kind.name!r})"
    return _RULES.get(code, code)
