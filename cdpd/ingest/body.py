"""Reading a body: bounded in size, in time and over all connections; inflated as it comes.

Limits count decompressed bytes. aiohttp's own inflating is switched off: it makes a 500 of a bad gzip.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from aiohttp.web import BaseRequest

from cdpd.ingest.connection import Connection
from cdpd.ingest.in_flight import Charge
from cdpd.ingest.refusal import Refused, invalid_json, overloaded, too_large

_STEP: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read_body(request: BaseRequest, charge: Charge, limit: int) -> bytes:
    """The whole body, decompressed, without a byte order mark.

    Raises Refused: 400 too_large and invalid_json (broken compression), 408 when it comes too slowly, 415 for
    an encoding that we do not know, 503 when too much is in flight. Raises ConnectionError where the client
    goes away.
    """
    content = request.content
    encoding = request.headers.get("Content-Encoding")
    inflate = None if encoding is None else _inflater(encoding)
    if inflate is None and content.is_eof():
        body = content.read_nowait()
        if len(body) > limit:
            raise too_large("the body", limit)
        if not charge.add(len(body)):
            raise overloaded()
    else:
        body = await _stream(request, charge, limit, inflate)
    return body[3:] if body.startswith(_BOM) else body


async def _stream(request: BaseRequest, charge: Charge, limit: int, inflate: Inflate | None) -> bytes:
    declared = request.content_length
    if declared is not None:
        if declared > limit:
            raise too_large("the body", limit)
        if not charge.fits(declared):
            raise overloaded()
    content = request.content
    connection = request.protocol
    assert isinstance(connection, Connection)
    connection.reading(content)
    try:
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(_CONTINUE)
        parts: list[bytes] = []
        size = 0
        while True:
            piece = await content.readany()
            if not piece:
                break
            for part in (piece,) if inflate is None else inflate.feed(piece):
                size += len(part)
                if size > limit:
                    raise too_large("the body", limit)
                if not charge.add(len(part)):
                    raise overloaded()
                parts.append(part)
    finally:
        connection.working()
    if inflate is not None:
        inflate.end()
    return b"".join(parts)


class Inflate:
    """gzip (also several members) or deflate (with or without the zlib header), in bounded steps."""

    def __init__(self, gzip: bool) -> None:
        self._gzip = gzip
        self._stream: zlib._Decompress | None = None
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` inflates to, at most `_STEP` bytes at a time. Raises Refused."""
        while data:
            if self._stream is None:
                if self._begun and not data.strip(b"\0"):  # some writers pad the end with zeros
                    return
                self._stream = self._open(data)
                self._begun = True
            stream = self._stream
            try:
                part = stream.decompress(data, _STEP)
                if part:
                    yield part
                data = stream.unconsumed_tail
                if not data and len(part) == _STEP and not stream.eof:
                    # More may be held inside although all input is taken.
                    while rest := stream.decompress(b"", _STEP):
                        yield rest
            except zlib.error as error:
                raise invalid_json(f"its compression is broken ({error})") from None
            if stream.eof:
                data = stream.unused_data
                self._stream = None
                if data and not self._gzip:
                    raise invalid_json("bytes follow the end of the compressed data")

    def end(self) -> None:
        """Raises Refused where the body stops in the middle."""
        if self._stream is not None or not self._begun:
            raise invalid_json("its compression is broken (it ends too early)")

    def _open(self, data: bytes) -> zlib._Decompress:
        if self._gzip:
            return zlib.decompressobj(31)
        # RFC 9110 means zlib by "deflate"; some clients send the bare stream. A zlib header is method 8 and,
        # with the byte after it, a multiple of 31.
        header = data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] << 8 | data[1]) % 31 == 0)
        return zlib.decompressobj(15 if header else -15)


def _inflater(encoding: str) -> Inflate | None:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name in ("gzip", "x-gzip"):
        return Inflate(gzip=True)
    if name == "deflate":
        return Inflate(gzip=False)
    raise Refused(
        415, "unsupported_encoding", f"Content-Encoding {name!r} is not known here: send gzip or deflate"
    )
