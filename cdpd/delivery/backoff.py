"""How long to wait: after failures, between probes of a vendor that is away, and of a wrong configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Random = Callable[[], float]
"""Uniform in [0, 1), as random.random."""

LONGEST: Final = 300.0
MISCONFIGURED_PROBE: Final = 300.0
"""Seconds between two probes with credentials that were refused (spec/destinations.md §0.1) …"""
LONGEST_MISCONFIGURED_PROBE: Final = 3600.0
"""… and the most between two with a wrong setting: each time twice as long."""
PROBE: Final = 2.0
"""A vendor that has healed is noticed within this time …"""
LONG_DEAD: Final = 600.0
"""… unless it has been away for longer than this: then within …"""
LONG_DEAD_PROBE: Final = 30.0


def retry_delay(failures: int, random: Random) -> float:
    """Seconds before try number `failures + 1`: min(5 min, 1 s·2^n) x U(0.5, 1.5), n from 0 (connections.md §7)."""
    base = LONGEST if failures > 9 else min(LONGEST, 2.0 ** max(failures - 1, 0))
    return base * (0.5 + random())


def probe_delay(away: float, random: Random) -> float:
    """Seconds before the next probe of a vendor that has been away for `away` seconds."""
    longest = PROBE if away < LONG_DEAD else LONG_DEAD_PROBE
    return longest * (0.5 + random() / 2)


def pause_delay(kind: str, probes: int) -> float:
    """Seconds before probe number `probes + 1` of a destination that is paused for `kind`.

    Credentials may be mended at the vendor's at any time; a wrong setting is hardly mended but here, and a reload
    tries at once.
    """
    if kind != "bad_config":
        return MISCONFIGURED_PROBE
    return min(MISCONFIGURED_PROBE * 2.0 ** min(probes, 9), LONGEST_MISCONFIGURED_PROBE)
