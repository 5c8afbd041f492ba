"""How a call of a function ended, as an outcome of delivery. Source: spec/connections.md §9.4 and §1 (stage 19)."""

from __future__ import annotations

from typing import Final

from cdpd.destinations.answers import Answer, outcome_of
from cdpd.destinations.outcome import BadConfig, BadEvent, Delivered, Outcome, Skipped, TryAgain
from cdpd.functions.frames import Result
from cdpd.functions.process import CannotLoad

UNSUPPORTED: Final = "UNSUPPORTED_EVENT_TYPE"
DROPPED: Final = "FILTERED_AT_MAPPING"
_MENDED_SOON: Final = 15.0
"""Seconds until a function that did not load is tried again."""


def outcome_of_result(result: Result, now_ms: int) -> Outcome:
    """What became of the event."""
    match result.ended:
        case "done":
            return Delivered()
        case "status":
            return outcome_of(Answer(result.status or 0, {}, result.message), now_ms)
        case "retry":
            return TryAgain(result.message or "the function asked to be tried again")
        case "timeout":
            return TryAgain(f"the function: {result.message}", code="ETIMEDOUT")
        case "unsupported":
            return Skipped(UNSUPPORTED)
        case "dropped":
            return Skipped(DROPPED)
        case "rejected":
            return BadEvent(f"message_rejected: {result.message}")
        case "invalid_settings":
            return BadConfig(f"invalid_settings: {result.message}; check the function's settings")
        case "failed":
            return BadEvent(f"bad_request: {result.message}")


def not_loaded(error: CannotLoad) -> Outcome:
    """Of every event, where the function cannot be run: none is lost, the destination waits for a mended file."""
    return BadConfig(f"the function cannot be run: {error}", after=_MENDED_SOON)
