"""What the daemon asks of its own process: enough open files, and few pauses by the garbage collector."""

from __future__ import annotations

import gc
import resource
from typing import Final

_YOUNG: Final = 50_000
"""Objects until the first collection (Python's own: 700 to 2000)."""


def raise_file_limit() -> None:
    """As many open files as the system lets this process have: each client is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            pass  # macOS says "unlimited" and means less: what there is must do


def calm_garbage_collector() -> None:
    """What was made by now stays for good: never looked at again; and new things are looked at less often.

    Events make no cycles: they are gone as soon as nobody holds them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)
