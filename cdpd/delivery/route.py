"""Routing: from a line of `events`, does it go to this destination, and in whose lane?

Stages 10 to 16 of spec/connections.md §1: source connected, `integrations`, not delivered by the
browser itself, supported call, filters.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Raw, Struct, field

from cdpd.delivery.filters import Filters, Random
from cdpd.delivery.integrations import Decision, decide, unknown_names
from cdpd.destinations.contract import Destination, DestinationConfig

NOT_CONNECTED: Final = ""
"""Of a source that is not connected, or an object: not counted, as if there were no such event."""
BY_INTEGRATIONS: Final = "FILTERED_BY_INTEGRATIONS_OBJECT"
UNSUPPORTED: Final = "UNSUPPORTED_EVENT_TYPE"
CLIENT_SIDE: Final = "MESSAGE_SENT_CLIENT_SIDE"


class _Peek(Struct):
    """Only what routing looks at; undecoded, so that no wrong type anywhere can stop an event."""

    projectId: Raw = Raw()
    type: Raw = Raw()
    userId: Raw = Raw()
    anonymousId: Raw = Raw()
    integrations: Raw = Raw()
    metadata: Raw = field(name="_metadata", default=Raw())


class _Metadata(Struct):
    """What a browser library says of its own part (`_metadata`)."""

    bundled: list[str] = []
    """Display names of destinations to which it has delivered the event itself."""


_metadata: Final = msgspec.json.Decoder(_Metadata).decode
_peek: Final = msgspec.json.Decoder(_Peek).decode
_REMEMBERED: Final = 512
_SET: Final = b'"set"'
_ALWAYS: Final = Decision(True)


class Route(Struct):
    """It goes where `skip` is None; else that is the code. `key`: its lane (None: any order)."""

    skip: str | None = None
    key: bytes | None = None
    options: Raw | None = None
    unknown: int = 0
    """Names in `integrations` that nothing configured has."""
    line: bytes | None = None
    """What is sent instead of the line itself."""
    by: str = ""
    """The title of the filter that kept it back."""
    problem: str = ""
    """Where that filter could not judge it: why."""
    is_object: bool = False
    """It is an object (`set`), no event."""


class NotAnEvent(ValueError):
    """The line is no JSON object."""


class Routes(Protocol):
    """A Router, or what stands before one."""

    def know(self, names: Collection[str]) -> None:
        """The configured display names have changed."""
        ...

    def route(self, line: bytes) -> Route:
        """Raises NotAnEvent."""
        ...


class Router:
    """One destination's rules. `known`: display names of everything configured; may be replaced any time."""

    def __init__(
        self,
        *,
        name: str,
        sources: Sequence[str] | None,
        supports: Collection[str],
        opt_in: bool,
        obeys_integrations: bool,
        ordering: Literal["user", "strict", "none"],
        known: Collection[str],
        filters: Filters | None = None,
    ) -> None:
        self._filters = filters or None
        self._name = name
        self._sources = None if sources is None else {_json(source) for source in sources}
        self._supports = {_json(kind) for kind in supports}
        self._opt_in = opt_in
        self._obeys = obeys_integrations
        self._ordering = ordering
        self._known = known
        self._decisions: dict[bytes, tuple[Decision, int]] = {}

    def know(self, names: Collection[str]) -> None:
        """The configured display names have changed."""
        self._known = names
        self._decisions.clear()

    def route(self, line: bytes) -> Route:
        """Raises NotAnEvent."""
        try:
            peek = _peek(line)
        except msgspec.DecodeError as error:
            raise NotAnEvent(str(error)) from error
        except RecursionError:
            raise NotAnEvent("it is nested too deep") from None
        if bytes(peek.type) == _SET:
            return Route(NOT_CONNECTED, is_object=True)  # for warehouses alone (spec/connections.md §10)
        decision, unknown = self._decide(bytes(peek.integrations))
        if self._sources is not None and bytes(peek.projectId) not in self._sources:
            return Route(NOT_CONNECTED, unknown=unknown)
        if not decision.send:
            return Route(BY_INTEGRATIONS, unknown=unknown)
        if peek.metadata and self._obeys and self._name in _bundled(peek.metadata):
            return Route(CLIENT_SIDE, unknown=unknown)
        if bytes(peek.type) not in self._supports:
            return Route(UNSUPPORTED, unknown=unknown)
        route = Route(None, self._lane(peek), decision.options, unknown)
        return route if self._filters is None else self._filtered(self._filters, line, route)

    @staticmethod
    def _filtered(filters: Filters, line: bytes, route: Route) -> Route:
        """Stage 16: the destination's filters."""
        found = filters.apply(line)
        if found.skip is not None:
            return Route(found.skip, unknown=route.unknown, by=found.by, problem=found.problem)
        if found.line is not line:
            route.line = found.line
        return route

    def _decide(self, text: bytes) -> tuple[Decision, int]:
        # Few different texts make up nearly all traffic: an SDK sends the same object with every event.
        known = self._decisions.get(text)
        if known is None:
            unknown = unknown_names(text, self._known) if text else 0
            decision = decide(text or None, self._name, opt_in=self._opt_in) if self._obeys else _ALWAYS
            known = decision, unknown
            if len(text) <= 256:
                if len(self._decisions) >= _REMEMBERED:
                    self._decisions.clear()
                self._decisions[text] = known
        return known

    def _lane(self, peek: _Peek) -> bytes | None:
        if self._ordering == "none":
            return None
        if self._ordering == "strict":
            return b""
        user = bytes(peek.userId)
        if user and user not in _NO_ID:
            return b"u" + _plain(user)
        anonymous = bytes(peek.anonymousId)
        if anonymous and anonymous not in _NO_ID:
            return b"a" + _plain(anonymous)
        return None


def _bundled(metadata: Raw) -> list[str]:
    try:
        return _metadata(metadata).bundled
    except msgspec.DecodeError:
        return []


def router_of(
    kind: type[Destination],
    config: DestinationConfig,
    known: Collection[str] = (),
    *,
    filtered: bool = True,
    chance: Random = random.random,
) -> Router:
    """The rules of a destination with this configuration; `filtered`: its filters too. `chance`: for their samples."""
    return Router(
        name=kind.name,
        sources=config.sources,
        supports=kind.supports,
        opt_in=kind.opt_in,
        obeys_integrations=kind.obeys_integrations,
        ordering=config.ordering,
        known=known,
        filters=Filters(config.filters, chance) if filtered else None,
    )


_NO_ID: Final = frozenset((b"null", b'""'))


def _plain(text: bytes) -> bytes:
    """One id, one text: escapes are undone, since two clients may write the same id in two ways."""
    return msgspec.json.encode(msgspec.json.decode(text)) if b"\\" in text else text


def _json(text: str) -> bytes:
    return msgspec.json.encode(text)
