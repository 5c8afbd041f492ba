"""What the log says of outcomes: enough to act on, and nothing that a vendor may have taken out of an event."""

from __future__ import annotations

import pytest

from cdpd.delivery.verdict import STRICTLY_HELD, TOO_LATE
from cdpd.delivery.wording import for_log
from cdpd.destinations.answers import Answer, outcome_of
from cdpd.destinations.outcome import BadEvent, Misconfigured, RateLimited, TryAgain


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (
            TryAgain("it answered 503 Service Unavailable: jane@example.com", 503),
            "it answered 503 Service Unavailable",
        ),
        (BadEvent("jane@example.com is no phone number", 422), "it answered 422 Unprocessable Entity"),
        (Misconfigured("jane has no rights", 401), "it answered 401 Unauthorized"),
        (TryAgain("odd", 599), "it answered 599"),
        (TryAgain("KeyError: 'jane@example.com'"), "KeyError"),
        (TryAgain("no connection: Connection refused (ECONNREFUSED)"), "no connection (ECONNREFUSED)"),
        (TryAgain("no answer in time (ETIMEDOUT)"), "no answer in time (ETIMEDOUT)"),
        (
            BadEvent(TOO_LATE + "it answered 500: jane", 500),
            f"{TOO_LATE}it answered 500 Internal Server Error",
        ),
        (Misconfigured(STRICTLY_HELD + "email: jane is none"), f"{STRICTLY_HELD}email"),
        (
            Misconfigured(STRICTLY_HELD + TOO_LATE + "no answer in time (ETIMEDOUT)"),
            f"{STRICTLY_HELD}{TOO_LATE}no answer in time (ETIMEDOUT)",
        ),
    ],
)
def test_a_status_a_code_or_the_first_words(outcome: TryAgain | BadEvent | Misconfigured, said: str) -> None:
    assert for_log(outcome) == said


@pytest.mark.parametrize("status", [400, 401, 402, 404, 422, 429, 500, 501, 503])
def test_an_answer_that_quotes_the_event_is_told_without_it(status: int) -> None:
    outcome = outcome_of(Answer(status, {}, 'bad request: {"email": "jane@example.com"}'), 0)
    assert isinstance(outcome, TryAgain | RateLimited | BadEvent | Misconfigured)
    assert "jane" in outcome.reason, "people with the status see it"
    assert for_log(outcome).startswith(f"it answered {status}")
    assert "jane" not in for_log(outcome)
