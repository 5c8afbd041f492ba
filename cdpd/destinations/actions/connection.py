"""The test of a connection, declared: a request that sends no event, and what its answers say.

async def ask(radio: Radio) -> Answer:
    return await radio.call("GET", f"{radio.host}/me")

Radio.connection = ConnectionTest(ask, ok="the key is right")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from cdpd.destinations.answers import Answer, Table, outcome_of
from cdpd.destinations.checked import Checked
from cdpd.destinations.outcome import Delivered, RateLimited, Skipped

_LONGEST: Final = 500
"""Characters of an answer that are kept."""


class ConnectionTest(Struct, frozen=True, eq=False):
    """How a destination finds out whether its settings are right, without an event."""

    ask: Callable[[Any], Awaitable[Answer | Checked]]
    """destination → its vendor's answer, whose meaning the status table says; or what was found, where it knows better.
    May raise what a `perform` may."""
    ok: str = "the credentials are right"
    """What an answer that is as it should be says; what it leaves open, too."""
    answers: Table | None = None
    """Where this request's answers mean something else than usual. Default: the destination's own table."""


def checked_of(answer: Answer, now_ms: int, ok: str, table: Table) -> Checked:
    """What an answer says of the connection."""
    outcome = outcome_of(answer, now_ms, answer.request, table)
    kept = answer.body[:_LONGEST]
    match outcome:
        case Delivered() | Skipped():
            return Checked("ok", ok, answer.request, answer.status, kept)
        case RateLimited():
            text = f"it asks to slow down, and says nothing else now: {outcome.reason}"
            return Checked("unknown", text, answer.request, answer.status, kept)
    return Checked("failed", outcome.reason, answer.request, answer.status, kept)
