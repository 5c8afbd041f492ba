"""Reading a body: bounded in size, in time and over all connections; inflated as it comes.

Limits count decompressed bytes. aiohttp's own inflating is switched off: it makes a 500 of a bad gzip.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from cdpd.ingest.in_flight import Charge
from cdpd.ingest.refusal import Refused, broken_compression, overloaded, too_large
from cdpd.ingest.request import Request

_STEP: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"


def ready_body(request: Request, charge: Charge, limit: int) -> bytes | None:
    """A body that is there already and not compressed; None where `read_body` has to wait or inflate.

    Raises Refused as read_body does.
    """
    body = request.body
    if body is None or "content-encoding" in request.headers or "transfer-encoding" in request.headers:
        return None
    if len(body) > limit:
        raise too_large("the body", limit)
    if not charge.add(len(body)):
        raise overloaded()
    return body[3:] if body.startswith(_BOM) else body


async def read_body(request: Request, charge: Charge, limit: int) -> bytes:
    """The whole body, decompressed, without a byte order mark.

    Raises Refused: 400 too_large and invalid_json (broken compression), 408 when it comes too slowly, 415 for
    an encoding that we do not know, 503 when too much is in flight. Raises ConnectionError where the client
    goes away.
    """
    coding = request.headers.get("transfer-encoding", "chunked").strip().lower()
    if coding != "chunked":
        raise Refused(
            415,
            "unsupported_encoding",
            f"Transfer-Encoding {coding!r} is not known here: send chunked",
            close=True,
        )
    inflate = _inflater(request.headers.get("content-encoding", ""))
    waits = request.body is None
    if waits:
        _check_declared(request.content_length, charge, limit)
        request.waits_for_body(True)
    parts: list[bytes] = []
    sent = size = 0
    try:
        piece = await request.next_piece() if request.body is None else request.body
        while piece:
            sent += len(piece)
            for part in (piece,) if inflate is None else inflate.feed(piece):
                size += len(part)
                if size > limit:
                    raise too_large("the body", limit)
                if not charge.add(len(part)):
                    raise overloaded()
                parts.append(part)
            if sent > limit:
                raise too_large("the body", limit)
            piece = await request.next_piece() if waits else b""
    finally:
        if waits:
            request.waits_for_body(False)
    if inflate is not None:
        inflate.end()
    body = b"".join(parts)
    return body[3:] if body.startswith(_BOM) else body


def _check_declared(length: int | None, charge: Charge, limit: int) -> None:
    if length is None:
        return
    if length > limit:
        raise too_large("the body", limit)
    if not charge.fits(length):
        raise overloaded()


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
                raise broken_compression(str(error)) from None
            if stream.eof:
                data = stream.unused_data
                self._stream = None
                if data and not self._gzip:
                    raise broken_compression("bytes follow the end of the compressed data")

    def end(self) -> None:
        """Raises Refused where the body stops in the middle."""
        if self._stream is not None or not self._begun:
            raise broken_compression("it ends too early")

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
