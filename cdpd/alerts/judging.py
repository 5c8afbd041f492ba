"""When an alert fires and when it is over: a condition that holds long enough, one that has not for long enough. Pure.

What it goes by is kept in state.db, so that a restart neither fires nor resolves by itself, nor begins to wait anew.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

Turn = Literal["fired", "resolved"]


class AlertState(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=False):
    """Of one alert and what it is about. Times are in milliseconds since the epoch."""

    watched_ms: int
    """Since when it is watched."""
    fired_ms: int | None = None
    """Since when it fires."""
    began_ms: int | None = None
    """Since when the condition holds; while it fires: since when it held then."""
    clear_ms: int | None = None
    """While it fires: since when the condition no longer holds."""

    @property
    def fires(self) -> bool:
        return self.fired_ms is not None


def judged(
    state: AlertState, holds: bool | None, now_ms: int, *, hold: float, resolve: float
) -> tuple[AlertState, Turn | None]:
    """The state from now on, and what is to be told.

    `holds`: None where it cannot be known now; then all stays as it is. `hold`, `resolve`: seconds for which the
    condition must hold until it fires, and must not until it is over.
    """
    change = msgspec.structs.replace
    if holds is None:
        return state, None
    if holds:
        began = now_ms if state.began_ms is None else min(state.began_ms, now_ms)
        state = change(state, began_ms=began, clear_ms=None)
        if not state.fires and now_ms - began >= hold * 1000:
            return change(state, fired_ms=now_ms), "fired"
        return state, None
    if not state.fires:
        return change(state, began_ms=None), None
    clear = now_ms if state.clear_ms is None else min(state.clear_ms, now_ms)
    if now_ms - clear >= resolve * 1000:
        return change(state, fired_ms=None, began_ms=None, clear_ms=None), "resolved"
    return change(state, clear_ms=clear), None
