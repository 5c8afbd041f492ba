"""Reads the head of an ordinary request, strictly; whatever is unusual is left to aiohttp's parser.

Ordinary: HTTP/1.1, a path, header lines as RFC 9112 has them, none twice, a body of a stated length. All that
could be read in two ways (and so be smuggled past a proxy) is unusual.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

LONGEST: Final = 16 * 1024
"""Bytes of an ordinary head."""
_HEAD: Final = re.compile(
    rb"(GET|POST|OPTIONS|HEAD) (/[!-~]*+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)++)\r\n"
)
_FIELD: Final = re.compile(r"([^:\r\n]+):[ \t]*([^\r\n]*)")
_UNUSUAL: Final = frozenset({"transfer-encoding", "upgrade", "expect", "http2-settings"})
_BEGINNINGS: Final = (b"POST /", b"GET /", b"OPTIONS /", b"HEAD /")
_ENOUGH: Final = max(len(text) for text in _BEGINNINGS)


class Head(Struct):
    """The head of an ordinary request."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    length: int
    """Bytes of the body."""
    keep_alive: bool
    size: int
    """Bytes of the head itself."""


def read_head(data: bytes) -> Head | None:
    """The head that `data` begins with; None where it is no ordinary one (or not yet whole: see `unfinished`)."""
    found = _HEAD.match(data)
    if found is None or found.end() > LONGEST:
        return None
    method, target, block = found.groups()
    fields = _FIELD.findall(block.decode("utf-8", "surrogateescape"))
    headers = {name.lower(): value.rstrip(" \t") for name, value in fields}
    if len(headers) != len(fields) or not _UNUSUAL.isdisjoint(headers):
        return None
    length = headers.get("content-length")
    if length is None:
        size = 0
    elif length.isascii() and length.isdecimal() and len(length) < 16:
        size = int(length)
    else:
        return None
    path, _, query = target.decode("ascii").partition("?")
    connection = headers.get("connection")
    return Head(
        method.decode("ascii"),
        path,
        query,
        headers,
        size,
        connection is None or "close" not in connection.lower(),
        found.end(),
    )


def unfinished(data: bytes) -> bool:
    """Whether `data` may become an ordinary head when more of it comes."""
    if len(data) > LONGEST or b"\r\n\r\n" in data:
        return False
    if not data.startswith(_BEGINNINGS):
        return len(data) < _ENOUGH and any(text.startswith(data) for text in _BEGINNINGS)
    return data.count(b"\n") == data.count(b"\r\n")
