"""How deep a JSON text is nested, at the cost of a count for all but unusual events."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_STEPS: Final = bytes(1 if byte in b"[{" else 255 if byte in b"]}" else 0 for byte in range(256))
_NO_OPENING: Final = bytes(byte for byte in range(256) if byte not in b"[{")
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def deeper_than(text: bytes, limit: int) -> bool:
    """Whether `text`, valid JSON, has more than `limit` levels of objects and arrays."""
    if len(text.translate(None, _NO_OPENING)) <= limit:  # those within strings only make this cautious
        return False
    brackets = _STRINGS.sub(b"", text).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(memoryview(brackets).cast("b")), default=0) > limit
