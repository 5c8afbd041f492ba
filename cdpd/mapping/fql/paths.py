"""How a path is written: any character outside `[A-Za-z0-9_-]` behind a backslash."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
"""Characters that stand in a path as they are."""
KEYWORDS: Final = frozenset(("and", "or", "in", "all", "true", "false", "null"))
_NUMBER: Final = re.compile(r"-?[0-9]")


def path_text(segments: Sequence[str]) -> str:
    """A path as FQL text: `("properties", "product 1")` → `properties.product\\ 1`. ValueError for an empty name."""
    if not segments or not all(segments):
        raise ValueError("a path has at least one name, and none of its names is empty")
    parts = ["".join(c if c in PLAIN else f"\\{c}" for c in segment) for segment in segments]
    text = ".".join(parts)
    # A lone word that means something else, or what starts like a number, is told apart by an escape.
    if text in KEYWORDS or _NUMBER.match(text):
        return f"\\{text}"
    return text
