"""Listening: sockets for an Ingest, and an end that finishes what was begun."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio

from cdpd.config.address import Listen
from cdpd.ingest.ingest import Ingest

BACKLOG: Final = 2048
DRAIN: Final = 30.0
"""Seconds that requests get to finish when the daemon stops."""


class ListenError(Exception):
    """An address that cannot be listened on; `listen` is the one."""

    def __init__(self, listen: Listen, reason: str) -> None:
        super().__init__(f"cannot listen on {listen}: {reason}")
        self.listen = listen


class AddressInUse(ListenError):
    """Somebody else listens there."""

    def __init__(self, listen: Listen) -> None:
        super().__init__(
            listen, "the address is in use, by another cdpd or another program; choose one with --listen"
        )


@asynccontextmanager
async def serve(ingest: Ingest, listen: Sequence[Listen]) -> AsyncIterator[list[Listen]]:
    """Serve inside the `with`; the addresses as they are bound (a port 0 is a real one then).

    At the end no connection is taken any more, idle ones are closed, and every request that has begun is
    answered with `Connection: close`. Raises ListenError (AddressInUse).
    """
    sockets = _bind_all(listen)
    try:
        bound = [
            Listen(address.host, sock.getsockname()[1])
            for address, group in zip(listen, sockets, strict=True)
            for sock in group[:1]
        ]
        plugins = await ingest.start_plugins()
    except BaseException:
        _close_all(sockets)
        raise
    server = ingest.server()
    loop = asyncio.get_running_loop()
    listeners = [
        await loop.create_server(server, sock=sock, backlog=BACKLOG) for group in sockets for sock in group
    ]
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ingest.watch.sweep)
            try:
                yield bound
            finally:
                for listener in listeners:
                    listener.close()
                with anyio.move_on_after(DRAIN, shield=True):
                    await ingest.drain()
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await ingest.stop()
            await plugins.cleanup()


def _bind_all(listen: Sequence[Listen]) -> list[list[socket.socket]]:
    """Sockets for each address. Raises ListenError, with none left open."""
    sockets: list[list[socket.socket]] = []
    try:
        for address in listen:
            sockets.append(_bind(address))
    except BaseException:
        _close_all(sockets)
        raise
    return sockets


def _close_all(sockets: Sequence[Sequence[socket.socket]]) -> None:
    for group in sockets:
        for sock in group:
            sock.close()


def _bind(listen: Listen) -> list[socket.socket]:
    """One socket, or several where the host has several addresses (all of them on one port)."""
    try:
        found = socket.getaddrinfo(
            listen.host or None, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenError(listen, error.strerror or str(error)) from None
    sockets: list[socket.socket] = []
    port = listen.port
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError:  # no IPv6 on this machine
            continue
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRNOTAVAIL and sockets:
                continue
            _close_all([sockets])
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(listen) from None
            raise ListenError(listen, error.strerror or str(error)) from None
        port = sock.getsockname()[1]
        sock.setblocking(False)
        sockets.append(sock)
    if not sockets:
        raise ListenError(listen, "no such address on this machine")
    return sockets
