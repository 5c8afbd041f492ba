"""The destinations of two configurations, side by side: which get an event, and what would be sent for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final, NoReturn

import msgspec
import structlog
from msgspec import Raw, Struct

from cdpd.clock import Clock
from cdpd.config.load import LoadedConfig
from cdpd.config.plugin_options import Catalogue
from cdpd.delivery.filters import BY_RULES, FAILED
from cdpd.delivery.making import Made, Maker
from cdpd.delivery.route import (
    BY_INTEGRATIONS,
    NOT_CONNECTED,
    UNSUPPORTED,
    NotAnEvent,
    Route,
    Routes,
    router_of,
)
from cdpd.destinations.contract import Destination, DestinationEnv
from cdpd.event import Event
from cdpd.foreign import ends_us
from cdpd.pipeline.discarded import Ended
from cdpd.section import Items, Section

_REASONS: Final = {
    NOT_CONNECTED: "the source is not connected",
    BY_INTEGRATIONS: "the event's integrations say so",
    UNSUPPORTED: "it does not take such calls",
}
DISCARDED: Final = "the event is discarded"
NEW: Final = "it is new"
GONE: Final = "it is gone"
DISABLED: Final = "it is disabled"
SKIPPED: Final = "it has nothing to send for such events"


def _shown(value: object) -> object:
    """What stands in a payload and is no JSON type: a part of the event as it is, anything else as it prints."""
    return value.raw() if isinstance(value, Section | Items) else str(value)


class _Identity(Struct):
    messageId: Raw = Raw()


_identify: Final = msgspec.json.Decoder(_Identity).decode
_encode: Final = msgspec.json.Encoder(enc_hook=_shown).encode


class Sent(Struct, frozen=True):
    """What one configuration's destination does with an event: `payload` (JSON), or why nothing."""

    payload: bytes | None
    reason: str = ""


class Compared(Struct, frozen=True):
    """What is sent for an event by the old and the new configuration (JSON), None for nothing."""

    before: bytes | None
    after: bytes | None
    halfway: bytes | None
    """What the new configuration would send for the event as the old one makes it: what differs from `before` is the
    destination's own doing, what differs from `after` that of the hooks."""
    reason: str = ""
    """Why nothing is sent, on the side where that is so."""


class Side:
    """A destination as one configuration has it."""

    def __init__(
        self, name: str, options: Mapping[str, Any], made: Made, known: Collection[str], env: DestinationEnv
    ) -> None:
        self.name = name
        self.options = options
        """As they are written in the configuration."""
        self.made = made
        self._chance = Random()
        self._router: Routes = router_of(made.kind, made.config, known, chance=self._chance.random)
        self._samples = any(
            action.kind == "sample" for rule in made.config.filters for action in rule.actions
        )
        self._env = env
        self._destination: Destination | None = None

    def route(self, line: bytes) -> Route:
        """Where the event goes; a disabled destination has it wait."""
        if not self.made.config.enabled:
            return Route(DISABLED)
        if self._samples:  # by chance: let it be the same one on both sides
            self._chance.seed(bytes(_identify(line).messageId))
        try:
            return self._router.route(line)
        except NotAnEvent as error:
            return Route(str(error))

    def sent(self, line: bytes, route: Route) -> Sent:
        """What is sent for it. A destination that cannot say has its error as payload: it is told, and no crash."""
        if route.skip is not None:
            return Sent(None, why(route))
        event = Event(line if route.line is None else route.line)
        if route.options is not None:
            event.options = Section(route.options)
        try:
            if self._destination is None:
                self._destination = self.made.kind(self.made.config, self._env)
            shown = self._destination.preview(event)
            nothing = _nothing(shown)
            return Sent(_encode(shown)) if nothing is None else Sent(None, nothing)
        except BaseException as error:
            if ends_us(error):
                raise
            # A stranger's code may raise anything.
            return Sent(_encode({"cannot be shown": f"{type(error).__name__}: {error}"}))


def _nothing(shown: object) -> str | None:
    """Why nothing is sent, where a preview says so; without the details, which may be another for each event."""
    if shown is None:
        return SKIPPED
    if not isinstance(shown, list) or not shown:
        return None
    if not all(isinstance(one, dict) and {"outcome", "reason"} <= one.keys() for one in shown):
        return None
    told = (f"{one['outcome']}: {one['reason']}" for one in shown)
    return ", ".join(dict.fromkeys(": ".join(text.split(": ")[:2]) for text in told))


def why(route: Route) -> str:
    """Why an event is not sent, in words."""
    skip = route.skip or NOT_CONNECTED
    if skip == BY_RULES:
        return f"the filter {route.by!r} keeps it back"
    return f"the filter {route.by!r} cannot judge it" if skip == FAILED else _REASONS.get(skip, skip)


class Pair:
    """One destination in both configurations; in one of them it may not be."""

    def __init__(self, name: str, before: Side | None, after: Side | None) -> None:
        self.name = name
        """In the new configuration; of one that is gone, in the old."""
        self.before = before
        self.after = after
        self._alike = before is not None and after is not None and before.made == after.made

    @property
    def options(self) -> list[str]:
        """Names of the options that differ, where both have it."""
        if self.before is None or self.after is None:
            return []
        old, new = self.before.options, self.after.options
        return [key for key in {**old, **new} if key != "was" and old.get(key) != new.get(key)]

    @property
    def state(self) -> str:
        """`same`, `changed`, `new`, `gone`, or `renamed from OLD`."""
        if self.before is None or self.after is None:
            return "new" if self.before is None else "gone"
        if self.before.name != self.after.name:
            return f"renamed from {self.before.name}"
        return "same" if self._alike else "changed"

    def compare(self, old: bytes | Ended, new: bytes | Ended) -> Compared:
        """What becomes of an event on either side: its lines of `events`, or that there is none."""
        if self._alike and old == new and isinstance(old, bytes):
            assert self.before is not None
            route = self.before.route(old)  # both would send the same: what, nobody needs to know
            return Compared(b"", b"", b"") if route.skip is None else Compared(None, None, None, why(route))
        before, after = _of(self.before, old, NEW), _of(self.after, new, GONE)
        halfway = before if self._alike else after if old == new else _of(self.after, old, GONE)
        reason = before.reason if before.payload is None else after.reason
        return Compared(before.payload, after.payload, halfway.payload, reason)


def _of(side: Side | None, line: bytes | Ended, missing: str) -> Sent:
    if side is None:
        return Sent(None, missing)
    if isinstance(line, Ended):
        return Sent(None, DISCARDED)
    return side.sent(line, side.route(line))


def pairs(
    old: LoadedConfig,
    new: LoadedConfig,
    catalogue: Catalogue,
    clock: Clock,
    log: structlog.typing.FilteringBoundLogger,
    folder: Path,
) -> list[Pair]:
    """The destinations of both, in the order of the new configuration, then those that are gone.

    `folder`: where destinations find their `state_dir`, which is empty. Raises DestinationError.
    """
    before, after = (_sides(loaded, catalogue, clock, log, folder) for loaded in (old, new))
    taken: set[str] = set()
    found: list[Pair] = []
    for name, side in after.items():
        was = side.made.config.was
        earlier = was if was in before and was not in after and name not in before else name
        found.append(Pair(name, before.get(earlier), side))
        taken.add(earlier)
    return found + [Pair(name, side, None) for name, side in before.items() if name not in taken]


def _sides(
    loaded: LoadedConfig,
    catalogue: Catalogue,
    clock: Clock,
    log: structlog.typing.FilteringBoundLogger,
    folder: Path,
) -> dict[str, Side]:
    maker = Maker(catalogue, loaded.data_dir, clock, log)
    made = {name: maker.read(name, options) for name, options in loaded.config.destinations.items()}
    known = frozenset(one.kind.name for one in made.values())
    offline: Any = _Offline()
    return {
        name: Side(
            name,
            loaded.config.destinations[name],
            one,
            known,
            DestinationEnv(name, offline, folder / name, clock, log),
        )
        for name, one in made.items()
    }


class _Offline:
    """Stands in for the session: a preview that wants the network breaks the contract, and says so."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"preview has no network (http.{name})")
