"""Text for a terminal: colours where it shows them, and nothing of strangers that could steer it."""

from __future__ import annotations

import os
from typing import Final, TextIO

_CODES: Final = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33",
    "blue": "34", "magenta": "35", "cyan": "36",
}  # fmt: skip


def coloured(stream: TextIO) -> bool:
    """Whether to colour what goes there: a terminal, and nobody said NO_COLOR (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, on: bool) -> str:
    """`text` in a colour, if `on`."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if on else text


def printable(text: str) -> str:
    """Text of strangers for a terminal: control characters, which could steer it, are shown as escapes."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)
