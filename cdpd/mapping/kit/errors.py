"""What can be wrong: with a mapping (MappingFaults, at its start), and with a mapping on one event (MappingError)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

Place = tuple[str | int, ...]
"""Keys and positions from the root of a mapping or payload down."""


class Fault(Struct, frozen=True):
    """One fault of a mapping. `path` is its place, like `items.@arrayPath[1].id`; "" is the mapping itself."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class MappingFaults(ValueError):
    """A mapping that cannot be used; `faults` holds all of them, in the mapping's order."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


class MappingError(Exception):
    """A mapping that could not be resolved on this event, e.g. a path that is computed and is no string."""


def place_text(place: Place) -> str:
    """`("a", "@if", "then", 0, "two words")` → `a.@if.then[0]["two words"]`."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and all(c.isalnum() or c in "@_-$" for c in part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text
