"""Health: is the process alive, and may traffic be sent to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

LIVE: Final = b'{"status":"ok"}'
ROBOTS: Final = b"User-agent: *\nDisallow: /\n"


def readiness(ready: Callable[[], str | None]) -> tuple[int, bytes]:
    """200, or 503 with the reason: status and JSON body."""
    reason = ready()
    if reason is None:
        return 200, LIVE
    return 503, msgspec.json.encode({"status": "not ready", "reason": reason})
