"""What a supervisor asks of its processes, each over a control socket of its own, besides what everybody may ask."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PREPARE: Final = "POST /reload/prepare"
"""`{"number"}` of a Change: get ready for it; answers as a reload does, or with its problems."""
APPLY: Final = "POST /reload/apply"
"""Use what was prepared."""
UNDO: Final = "POST /reload/undo"
"""Forget it."""
SERIES: Final = "GET /series"
"""Everything that was counted and measured (series.py); of the supervisor: in all processes."""
ROUTES: Final = "GET /routes"
"""`{"routes"}`: names of the hooks that have HTTP routes."""
FAILED: Final = "FAILED"
"""The word by which a process says why it did not start."""


def control_socket(data_dir: Path, name: str) -> Path:
    """Where a process with the roles `name` is asked."""
    return data_dir / f"control-{name}.sock"
