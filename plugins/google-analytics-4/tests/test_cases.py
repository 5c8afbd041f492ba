"""The cases: every action, every rule that one event shows; those of the specification and our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdpd.testing.cases import read_cases, run_case, run_response_case
from cdpd_google_analytics_4.destination import GoogleAnalytics4

CASES = read_cases(Path(__file__).parent / "cases.json")


@pytest.mark.parametrize("case", CASES.cases, ids=lambda case: case["title"])
async def test_an_event_becomes_this_request(case: dict[str, Any]) -> None:
    result = await run_case(GoogleAnalytics4, case)
    assert result.passed, result.problems


@pytest.mark.parametrize("case", CASES.response_cases, ids=lambda case: str(case["reply"]["status"]))
async def test_an_answer_means(case: dict[str, Any]) -> None:
    result = await run_response_case(GoogleAnalytics4, case)
    assert result.passed, result.problems


def test_every_action_has_a_case() -> None:
    delivered = {case["action"] for case in CASES.cases if case["expected_requests"]}
    assert delivered == {action.name for action in GoogleAnalytics4.actions}
