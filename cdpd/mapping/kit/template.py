"""`@template`: text with `{{path}}` in it. `{{{path}}}` means the same. Spec: connections.md §8.2.

What is filled in is not looked at again: a value that holds `{{userId}}` stays as it is.
"""

from __future__ import annotations

import re
from typing import Any, Final

from cdpd.mapping.kit.javascript import text_of
from cdpd.mapping.kit.path import Resolve, reader, segments_of

_THREE: Final = re.compile(r"\{\{\{([^}]+)\}\}\}")
_TWO: Final = re.compile(r"\{\{([^}]+)\}\}")


def pieces_of(template: str) -> list[str | tuple[str, ...]]:
    """Text and paths in turn: a str is text as it is, a tuple is a path's names."""
    found: list[str | tuple[str, ...]] = []
    for outer, part in enumerate(_THREE.split(template)):
        if outer % 2:
            found.append(segments_of(part.strip()))
            continue
        for inner, piece in enumerate(_TWO.split(part)):
            if inner % 2:
                found.append(segments_of(piece.strip()))
            elif piece:
                found.append(piece)
    return found


def filler(pieces: list[str | tuple[str, ...]]) -> Resolve:
    """Event → the filled text; what is missing or null is empty."""
    reads: list[tuple[str, Resolve | None]] = [
        (piece, None) if isinstance(piece, str) else ("", reader(piece)) for piece in pieces
    ]

    def fill(event: Any) -> str:
        return "".join([text if read is None else text_of(read(event)) for text, read in reads])

    return fill
