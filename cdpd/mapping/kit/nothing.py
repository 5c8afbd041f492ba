"""NOTHING: what a mapping resolves to where there is no value, which is not null. JavaScript's `undefined`."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal


class Nothing(Enum):
    """The one value `NOTHING`; false where a condition is asked for."""

    NOTHING = "nothing"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final[Literal[Nothing.NOTHING]] = Nothing.NOTHING
