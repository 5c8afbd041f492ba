"""Times as real SDKs write them."""

from __future__ import annotations

import pytest

from cdpd.timestamp import format_time, parse_time


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2026-11-23T20:33:07.983Z", "2026-11-23T20:33:07.983Z"),
        ("2026-11-23T20:33:04.013164+00:00", "2026-11-23T20:33:04.013Z"),
        ("2026-11-23T20:33:51.55476523Z", "2026-11-23T20:33:51.554Z"),
        ("2026-11-23T20:33:18+0100", "2026-11-23T19:33:18.000Z"),
        ("2026-11-23", "2026-11-23T00:00:00.000Z"),
        (1_700_000_000, "2023-11-14T22:13:20.000Z"),
        (1_700_000_000_000, "2023-11-14T22:13:20.000Z"),
    ],
)
def test_a_time_is_read_and_written_in_one_form(text, stored):
    ms = parse_time(text)
    assert ms is not None
    assert format_time(ms) == stored


@pytest.mark.parametrize("value", ["x", "2026-W48-1", "2026-13-01", True, None, float("nan"), 1e300])
def test_what_is_no_time_is_absent(value):
    assert parse_time(value) is None
