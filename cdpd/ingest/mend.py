"""Puts right what JSON does not allow but clients send: NaN, Infinity, lone surrogates, NUL.

Works on bytes with patterns that run at C speed and never go back, so that a hostile body costs no more than a
few passes. Whether the result is JSON is for the strict decoder to say.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

# Backslashes stand only in strings, so escapes can be found without knowing where strings begin.
_FINE: Final = re.compile(
    rb"(?:[^\\]++"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u(?!0000|[dD][89a-fA-F])"
    rb"|\\[^u])*+",
    re.DOTALL,
)
_BAD_ESCAPE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})")
_MAY_BE_BAD: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_REPLACEMENT: Final = rb"\ufffd"

_NO_LITERAL: Final = re.compile(rb'(?:[^"NI\-]++|"(?:[^"\\]++|\\.)*+"|-(?![NI]))*+', re.DOTALL)
_LITERAL: Final = re.compile(rb"-?(?:NaN|Infinity)")


def mend(body: bytes) -> tuple[bytes, Counter[str]]:
    """The body with these put right, and how often: nan_replaced, surrogate_replaced, nul_replaced."""
    counts: Counter[str] = Counter()
    if b"\0" in body:
        counts["nul_replaced"] += body.count(b"\0")
        body = body.replace(b"\0", _REPLACEMENT)
    body = _mend_escapes(body, counts)
    if b"NaN" in body or b"Infinity" in body:
        body = _mend_literals(body, counts)
    return body, counts


def _mend_escapes(body: bytes, counts: Counter[str]) -> bytes:
    """Lone surrogates and `\\u0000` become U+FFFD."""
    if not _MAY_BE_BAD.search(body):
        return body
    parts: list[bytes] = []
    at = 0
    while True:
        fine = _FINE.match(body, at)
        assert fine is not None  # it matches nothing at least
        parts.append(fine[0])
        bad = _BAD_ESCAPE.match(body, fine.end())
        if bad is None:  # the end, or a broken escape that the decoder will point out
            parts.append(body[fine.end() :])
            return b"".join(parts)
        counts["nul_replaced" if bad[0].endswith(b"0000") else "surrogate_replaced"] += 1
        parts.append(_REPLACEMENT)
        at = bad.end()


def _mend_literals(body: bytes, counts: Counter[str]) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        fine = _NO_LITERAL.match(body, at)
        assert fine is not None  # it matches nothing at least
        parts.append(fine[0])
        bad = _LITERAL.match(body, fine.end())
        if bad is None:
            parts.append(body[fine.end() :])
            return b"".join(parts)
        counts["nan_replaced"] += 1
        parts.append(b"null")
        at = bad.end()
