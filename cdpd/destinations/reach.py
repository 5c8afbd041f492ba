"""Whether an address can be reached: a connection is opened, with TLS where it is https, and closed. No request."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from cdpd.destinations.answers import failure_of

_PORTS: Final = {"http": 80, "https": 443}


async def first_unreachable(urls: Iterable[str], seconds: float) -> str:
    """Why the first of these that cannot be reached cannot; "" where all can. `seconds`: for each."""
    for url in dict.fromkeys(map(origin, urls)):
        try:
            await _connect(url, seconds)
        except socket.gaierror:
            return f"the host name of {url} cannot be resolved (ENOTFOUND)"
        except Exception as error:
            failure = failure_of(_plain(error))
            if failure is None:
                raise
            return f"{url} cannot be reached: {failure.reason}"
    return ""


def _plain(error: Exception) -> Exception:
    """A refused connection in the system's words: asyncio's name the address tried, or all of several."""
    if not isinstance(error, OSError) or isinstance(error, ssl.SSLError | TimeoutError):
        return error
    return (
        OSError(error.errno, os.strerror(error.errno)) if error.errno else OSError("it accepts no connection")
    )


def origin(url: str) -> str:
    """Scheme, host and port; nothing else of an address, which may hold a secret."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


async def _connect(url: str, seconds: float) -> None:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    # It reads the system's certificates.
    context = await anyio.to_thread.run_sync(ssl.create_default_context) if secure else None
    with anyio.fail_after(seconds):
        port = parts.port or _PORTS[parts.scheme]
        _, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    writer.close()
    with suppress(OSError, TimeoutError), anyio.fail_after(1):
        await writer.wait_closed()
