"""One file behind an http or https address, as a browser would download it (presigned ones too)."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from cdpd.bring.inputs import Found, Inputs
from cdpd.bring.unpack import Unreadable

_PIECE: Final = 256 * 1024
_TIMEOUT: Final = 60.0
"""Seconds without a byte."""


def web(url: str) -> Inputs:
    """The file at `url`. Its name is the address without the query, which may be a secret. Raises Unreadable."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise Unreadable(f"{url!r} is no address: write https://HOST/PATH")
    name = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    answer = _open(url, name)
    length = answer.headers.get("Content-Length", "")
    stamp = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    waiting = [answer]

    def read(found: Found) -> Iterator[bytes]:
        with waiting.pop() if waiting else _open(url, name) as opened:
            total = 0
            try:
                while piece := opened.read(_PIECE):
                    total += len(piece)
                    yield piece
            except (OSError, http.client.HTTPException) as error:
                raise Unreadable(f"the download broke off: {str(error) or type(error).__name__}") from None
            if found.size is not None and total < found.size:
                raise Unreadable(f"the download broke off after {total:,} of {found.size:,} bytes")

    return Inputs([Found(name, int(length) if length.isdecimal() else None, stamp)], read)


def _open(url: str, name: str) -> Any:
    try:
        return urlopen(Request(url, headers={"User-Agent": "cdpd-import"}), timeout=_TIMEOUT)
    except HTTPError as error:
        raise Unreadable(f"{name}: the server answered {error.code} {error.reason}") from None
    except (URLError, OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise Unreadable(f"{name}: {reason}") from None
