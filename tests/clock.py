"""A clock that tests hold in their hands: that of the kit for authors of plugins."""

from __future__ import annotations

from cdpd.testing.clock import FakeClock

__all__ = ["FakeClock"]
