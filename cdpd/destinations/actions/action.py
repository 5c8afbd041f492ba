"""Actions: what a destination can do, declared. Data alone: what becomes of it is in `destination.py`.

class Song(msgspec.Struct, kw_only=True):
    user: Annotated[str, Mapped("$.userId")]
    \"\"\"Who listens.\"\"\"
    title: Annotated[str | None, Mapped("$.properties.title")] = None

async def play(radio: Radio, song: Song) -> Answer:
    return await radio.call("POST", "https://radio.example/plays", json=song)

PLAY = Action("play", title="Play", payload=Song, trigger='type = "track" and event = "Song Played"', perform=play)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

from cdpd.destinations.answers import Answer
from cdpd.destinations.outcome import Outcome

P = TypeVar("P", bound=Struct)

Result = Answer | Outcome | None
"""What a `perform` returns: the vendor's answer (the status table says what it means), an outcome where it knows
better, or None: delivered."""


class Batching(Struct, frozen=True):
    """An action whose payloads share a request."""

    max_events: int
    """Payloads of a request, at most."""
    max_bytes: int = 1 << 62
    """Bytes of their events' own JSON, at most; a request that the vendor finds too large is halved in any case."""
    keys: Sequence[str] = ()
    """Names of payload fields that have to be equal within a request …"""
    by: Callable[[Any], Hashable] | None = None
    """… or what has to be equal, made of a payload."""
    weight: Callable[[Any], int] | None = None
    """How many of `max_events` a payload counts for, where it becomes several elements."""
    limit: Callable[[Any], int] | None = None
    """How many of such payloads share a request, where that is fewer."""


class Action(Struct, frozen=True, kw_only=True, eq=False):
    """One thing that a destination can do with an event."""

    name: str
    """As `[[destinations.X.actions]]` names it."""
    title: str
    """For people."""
    doc: str = ""
    """What it does, a sentence or two."""
    payload: type[Struct]
    """Its fields: `Annotated[type, Mapped(…)]` with the docstring under each. Required: what has no default."""
    trigger: str | None = None
    """FQL (trigger dialect): events that it is for, unless the configuration says otherwise. None: says it must."""
    perform: Callable[[Any, Any], Awaitable[Result]] | None = None
    """(destination, payload) → Result. One of the two is there."""
    perform_batch: Callable[[Any, Sequence[Any]], Awaitable[Result | Sequence[Result]]] | None = None
    """(destination, payloads) → one Result for all, or one for each in order."""
    batching: Batching | None = None
    """How many go to `perform_batch`. None: one."""
    example: Mapping[str, Any] | None = None
    """An event that it is for: for documentation, and for trying the action. Default: one of the trigger's type."""


class Preset(Struct, frozen=True):
    """An action as it is set up where the configuration says nothing of it."""

    title: str
    action: Action
    trigger: str | None = None
    """Default: the action's."""
    mapping: Mapping[str, Any] = {}
    """Laid over the action's defaults, field by field."""


MOST_MAPPINGS: Final = 50
"""Of a destination (spec/connections.md §8)."""
