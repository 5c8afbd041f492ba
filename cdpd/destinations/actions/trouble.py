"""Exceptions that an action may raise instead of returning an outcome, and what each means (connections.md §7)."""

from __future__ import annotations

from http import HTTPStatus

from cdpd.destinations.answers import Answer, failure_of, outcome_of
from cdpd.destinations.outcome import BadCredentials, BadEvent, Outcome, TryAgain


class PayloadValidationError(Exception):
    """This event can never succeed: the text says which of its values is wrong."""


class InvalidAuthenticationError(Exception):
    """The credentials are refused."""


class RetryableError(Exception):
    """Not now."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


class SelfTimeoutError(RetryableError):
    """It took too long by the action's own measure."""

    def __init__(self, message: str) -> None:
        super().__init__(message, HTTPStatus.REQUEST_TIMEOUT)


class IntegrationError(Exception):
    """Something that the vendor would answer with that status: the status table decides."""

    def __init__(self, message: str, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def outcome_of_error(error: BaseException) -> Outcome | None:
    """What it means for the events of its request; None: a fault of the action itself."""
    single: BaseException = error
    while isinstance(single, BaseExceptionGroup) and len(single.exceptions) == 1:
        single = single.exceptions[0]
    match single:
        case PayloadValidationError():
            return BadEvent(f"PAYLOAD_VALIDATION_FAILED: {single}")
        case InvalidAuthenticationError():
            return BadCredentials(f"{single}; check the credentials")
        case RetryableError():
            return TryAgain(str(single), single.status)
        case IntegrationError():
            return outcome_of(Answer(single.status, {}, f"{single.code}: {single}"), 0)
    return failure_of(single)
