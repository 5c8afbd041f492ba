"""A finding: what was looked at, whether it is well, and what to do where it is not."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

State = Literal["ok", "warning", "problem"]


class Finding(Struct, frozen=True, omit_defaults=True):
    """One line of `cdpd doctor`."""

    check: str
    """What was looked at, e.g. `data folder`; machines may rely on it."""
    state: State
    """warning: it works, and may hurt. problem: it does not work, or will not for long."""
    text: str
    todo: str = ""
    """What to do about it."""
    facts: dict[str, Any] = {}
    """What was measured, with the unit in the name."""


def ok(check: str, text: str, **facts: Any) -> Finding:
    return Finding(check, "ok", text, facts=facts)


def warning(check: str, text: str, todo: str, **facts: Any) -> Finding:
    return Finding(check, "warning", text, todo, facts)


def problem(check: str, text: str, todo: str, **facts: Any) -> Finding:
    return Finding(check, "problem", text, todo, facts)
