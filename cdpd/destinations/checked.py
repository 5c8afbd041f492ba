"""What the test of a destination's connection found: see `Destination.check`."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

UNTESTED: Final = "its connection cannot be tested without sending an event"


class Checked(Struct, frozen=True, omit_defaults=True):
    """`ok` says no more than was tested: the text names what only an event can tell."""

    state: Literal["ok", "failed", "unknown"]
    """`ok`: what can be tested without an event is right. `failed`: events would not arrive now. `unknown`: it cannot
    be tested, or not at this moment."""
    text: str
    """One sentence: what was found, and what to do about it."""
    request: str = ""
    """The request that was made, as it is shown: no header's value, no secret."""
    status: int | None = None
    """Of the answer."""
    answer: str = ""
    """The beginning of what was answered."""
