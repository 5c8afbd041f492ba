"""Serving: listening sockets for an Ingest, and an end that finishes what was begun."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import anyio

from cdpd.config.address import Listen
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.sockets import BACKLOG, AddressInUse, ListenError, Listening, bind_all
from cdpd.ingest.tls import Tls

__all__ = ["DRAIN", "AddressInUse", "ListenError", "serve"]

DRAIN: Final = 30.0
"""Seconds that requests get to finish when the daemon stops."""
_HANDSHAKE: Final = 10.0
"""Seconds for a TLS handshake."""
_FAREWELL: Final = 3.0
"""Seconds for a TLS client to say goodbye too, once its connection ends."""


@asynccontextmanager
async def serve(
    ingest: Ingest,
    listen: Sequence[Listen],
    *,
    handed: Sequence[Listening] = (),
    tls: Tls | None = None,
    unix_mode: int = 0o660,
) -> AsyncIterator[list[Listen]]:
    """Serve inside the `with`; the addresses as they are bound (a port 0 is a real one then).

    `handed` are sockets that are there already (handed.py). At the end no connection is taken any more, idle
    ones are closed, and every request that has begun is answered with `Connection: close`.
    Raises ListenError (AddressInUse).
    """
    async with AsyncExitStack() as stack:
        places = [*handed]
        for place in handed:
            stack.callback(place.close)
        for place in places:
            if place.listen.tls and tls is None:
                raise ListenError(
                    place.listen, "TLS needs a certificate: [http.tls] certificate = …, key = …"
                )
        for place in bind_all(listen, unix_mode):
            stack.callback(place.close)
            places.append(place)
        plugins = await ingest.start_plugins()
        stack.push_async_callback(_shielded, plugins.cleanup)
        stack.push_async_callback(_shielded, ingest.stop)
        listeners = [
            await _listen(sock, ingest.server(tls=place.listen.tls), tls if place.listen.tls else None)
            for place in places
            for sock in place.sockets
        ]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ingest.watch.sweep)
            try:
                yield [place.listen for place in places]
            finally:
                for listener in listeners:
                    listener.close()
                with anyio.move_on_after(DRAIN, shield=True):
                    await ingest.drain()
                tasks.cancel_scope.cancel()


async def _listen(
    sock: socket.socket, make: Callable[[], asyncio.Protocol], tls: Tls | None
) -> asyncio.AbstractServer:
    """Take connections on a socket; closing what this returns closes the socket, and no file."""
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"sock": sock, "backlog": BACKLOG}
    if tls is not None:
        options |= {
            "ssl": tls.context,
            "ssl_handshake_timeout": _HANDSHAKE,
            "ssl_shutdown_timeout": _FAREWELL,
        }
    if sock.family == socket.AF_UNIX and not isinstance(loop, asyncio.BaseEventLoop):
        return await loop.create_unix_server(make, **options)  # uvloop keeps the kinds apart
    # asyncio's create_unix_server would, from Python 3.13 on, remove the file, which may be systemd's.
    return await loop.create_server(make, **options)


async def _shielded(end: Callable[[], Awaitable[None]]) -> None:
    with anyio.CancelScope(shield=True):
        await end()
