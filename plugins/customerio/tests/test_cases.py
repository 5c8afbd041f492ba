"""The cases of the destination: events and the requests that come of them, answers and what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.testing import Case, cases_of
from cdpd_customerio.destination import CustomerIO


@pytest.mark.parametrize("case", cases_of(Path(__file__).with_name("cases.json")))
async def test_a_case(case: Case) -> None:
    await case.check(CustomerIO)
