"""Reads the head of an ordinary request, strictly; whatever is unusual is left to aiohttp's parser.

Ordinary: HTTP/1.1, a path, header lines as RFC 9112 has them, none twice, a body of a stated length. All that
could be read in two ways (and so be smuggled past a proxy) is unusual.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Struct

LONGEST: Final = 16 * 1024
"""Bytes of an ordinary head."""
_HEAD: Final = re.compile(
    rb"(GET|POST|OPTIONS|HEAD) (/[!-~]*+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)++)\r\n"
)
_FIELD: Final = re.compile(r"([^:\r\n]+):[ \t]*([^\r\n]*)")
_UNUSUAL: Final = frozenset({"transfer-encoding", "upgrade", "expect", "http2-settings"})
_LENGTH: Final = b"\r\nContent-Length: "
_LENGTH_LOWER: Final = _LENGTH.replace(b"C", b"c").replace(b"L", b"l")
_LENGTH_SKIP: Final = len(_LENGTH)
_MOST_KNOWN: Final = 2000
"""Heads that are remembered, of all connections; about 2 KB each."""
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
    plan: Any = None
    """What whoever handles such requests has worked out about them; kept with a head that is met again."""


class KnownHeads:
    """Heads that were read before: a client's are alike but for the length of the body.

    A head that is, byte for byte, a known one with other digits in the line `Content-Length` means the same.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def read(self, data: bytes) -> tuple[Head, int, int] | None:
        """(head, its bytes, its body's bytes) of a request that has come whole; else None.

        The head is shared: its own `length`, and that among its headers, are those of the first of its kind.
        """
        end = data.find(b"\r\n\r\n", 0, LONGEST)
        if end < 0:
            return None
        at = data.find(_LENGTH, 0, end)
        if at < 0:
            at = data.find(_LENGTH_LOWER, 0, end)
            if at < 0:
                return None
        begin = at + _LENGTH_SKIP
        stop = data.find(b"\r", begin, end + 1)
        digits = data[begin:stop]
        if not digits.isdigit() or len(digits) > 9 or len(data) < end + 4 + int(digits):
            return None
        key = data[:begin] + data[stop:end]
        head = self._known.get(key)
        if head is None:
            head = read_head(data)
            if head is None:
                return None
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = head
        return head, end + 4, int(digits)


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
