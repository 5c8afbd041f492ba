"""The event tester: one event through one destination as it is configured, step by step.

Source: spec/connections.md §13. Nothing is sent unless it is asked for, and nothing is stored: no cursor, no journal.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from cdpd.clock import Clock
from cdpd.delivery.lanes import Item
from cdpd.delivery.making import Made, Maker
from cdpd.delivery.mask import Mask
from cdpd.delivery.route import NotAnEvent, router_of
from cdpd.delivery.sending import send
from cdpd.destinations.actions.client import Client, Request, Transport
from cdpd.destinations.actions.destination import ActionDestination
from cdpd.destinations.answers import Answer
from cdpd.destinations.contract import Destination
from cdpd.event import Event, Position
from cdpd.secret import secrets_in
from cdpd.section import decode_value

NO_MATCH: Final = "You may not have any subscriptions that match this event"
"""The words of spec/connections.md §13."""


class Mapped(Struct, omit_defaults=True):
    """One mapping of a destination made of actions, and what it made of the event."""

    name: str
    action: str
    trigger: str
    matches: bool
    payload: Any = None
    problems: list[str] = field(default_factory=list)


class Exchange(Struct, omit_defaults=True):
    """A request as it was, or would be, made; and the answer."""

    request: Any
    status: int | None = None
    answer: str = ""


class Tried(Struct, omit_defaults=True):
    """What became of the event, secrets masked."""

    destination: str
    type: str
    skip: str = ""
    """Why the daemon would not send it there: a code; what follows is shown all the same."""
    by: str = ""
    """The title of the filter that keeps it back, and how it failed where it did."""
    event: Any = None
    """What the filters leave of it, where that is not the whole event."""
    mappings: list[Mapped] = field(default_factory=list)
    requests: list[Exchange] = field(default_factory=list)
    outcome: str = ""
    """With `live`: the class of the outcome."""
    reason: str = ""
    note: str = ""


async def try_event(name: str, made: Made, maker: Maker, line: bytes, clock: Clock, *, live: bool) -> Tried:
    """Bring an event (its JSON) through a destination. Raises NotAnEvent; `live`: it is sent, once."""
    told = Tried(name, made.kind.name)
    mask = Mask(secrets_in(made.config))
    sent = _routed(told, made, line)
    async with maker.instance(name, made) as destination:
        if isinstance(destination, ActionDestination):
            told.mappings = _mappings(destination, decode_value(Raw(sent)))
            if not any(mapping.matches for mapping in told.mappings):
                told.note = NO_MATCH if told.mappings else ""
        if live:
            await _send(told, destination, sent, clock, mask)
        else:
            told.requests = [Exchange(shown) for shown in _previewed(destination, sent)]
    return _masked(told, mask)


def _routed(told: Tried, made: Made, line: bytes) -> bytes:
    """What the rules before the destination make of the event."""
    route = router_of(made.kind, made.config).route(line)
    if route.skip is not None:
        told.skip = route.skip or "SOURCE_NOT_CONNECTED"
        told.by = f"{route.by}: {route.problem}" if route.problem else route.by
        return line
    if route.line is None:
        return line
    told.event = Raw(route.line)
    return route.line


def _mappings(destination: ActionDestination, event: dict[str, Any]) -> list[Mapped]:
    found = []
    for subscription in destination.subscriptions:
        mapped = Mapped(
            subscription.name,
            subscription.action.name,
            subscription.trigger.text,
            bool(subscription.matches(event)),
        )
        if mapped.matches:
            try:
                payload, problems = subscription.payload(event)
                mapped.payload = None if payload is None else msgspec.to_builtins(payload)
                mapped.problems = list(problems)
            except Exception as error:  # noqa: BLE001 - a fault, which delivery parks the event for
                mapped.problems = [f"the mapping failed: {type(error).__name__}: {error}"]
        found.append(mapped)
    return found


def _previewed(destination: Destination, line: bytes) -> list[Any]:
    """The requests that it would make; what it tells of a mapping that comes to none is in the mappings."""
    shown = destination.preview(Event(line))
    every = shown if isinstance(shown, list) else [shown]
    return [
        each for each in every if not (isinstance(each, dict) and "outcome" in each and "mapping" in each)
    ]


async def _send(told: Tried, destination: Destination, line: bytes, clock: Clock, mask: Mask) -> None:
    await destination.start()
    try:
        with _listening(destination, told.requests.append):
            item = Item(Position(0, 1), clock.now_ms(), None, line)
            sent = await send(destination.deliver, [item], 1, clock, mask)
    finally:
        await destination.stop()
    (outcome,) = sent.outcomes
    told.outcome = outcome.kind
    told.reason = str(getattr(outcome, "reason", "") or getattr(outcome, "code", ""))
    if not told.requests:
        # A destination that keeps its requests to itself: what is kept of one that is parked, at least.
        kept = getattr(outcome, "request", "")
        answer, status = getattr(outcome, "answer", ""), getattr(outcome, "status", None)
        for shown in [kept] if kept else _previewed(destination, line):
            told.requests.append(Exchange(shown, status, answer))


@contextmanager
def _listening(destination: Destination, heard: Callable[[Exchange], None]) -> Any:
    """Hear of each request and its answer."""
    client: Client | None = destination.client if isinstance(destination, ActionDestination) else None
    if client is None:
        yield
        return
    through: Transport = client.transport

    async def transport(request: Request) -> Answer:
        answer = await through(request)
        heard(Exchange(request.shown, answer.status, answer.body[:2000]))
        return answer

    client.transport = transport
    try:
        yield
    finally:
        client.transport = through


def _masked(told: Tried, mask: Mask) -> Tried:
    """No secret in anything that it says."""
    text = mask(msgspec.json.encode(told, enc_hook=str).decode())
    return msgspec.json.decode(text, type=Tried)


__all__ = ["NO_MATCH", "Exchange", "Mapped", "NotAnEvent", "Tried", "try_event"]
