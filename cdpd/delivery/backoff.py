"""How long to wait before the next try: exponential, with jitter, bounded. Source: spec/connections.md §7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LONGEST: Final = 300.0
FIRST: Final = 1.0
PROBE: Final = 300.0
"""Seconds between two probes of a destination whose configuration or credentials were refused."""


def backoff(attempt: int, uniform: Callable[[float, float], float]) -> float:
    """Seconds before try `attempt` + 1, for `attempt` ≥ 1: 1, 2, 4 … 300, each × 0.5 to 1.5."""
    return min(LONGEST, FIRST * 2.0 ** min(attempt - 1, 30)) * uniform(0.5, 1.5)
