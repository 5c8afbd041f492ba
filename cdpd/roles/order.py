"""What a supervisor hands to a process of its own, over a private pair of sockets: roles, configuration, sockets.

The configuration goes as it was checked, so that a process which is started again runs what the others run, whatever
stands in the files by then. Secrets go with it: nobody else can read the pair.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from cdpd.config.address import Listen
from cdpd.config.load import LoadedConfig
from cdpd.config.roles import Role
from cdpd.secret import Secret

_LENGTH: Final = struct.Struct(">I")


class Inherited(Struct, frozen=True):
    """An address with its listening sockets, as open file descriptors of the process that gets the order."""

    listen: Listen
    descriptors: list[int]


class Order(Struct, frozen=True):
    """What a process needs to start."""

    roles: Sequence[Role]
    loaded: LoadedConfig
    listening: Sequence[Inherited] = ()
    """For the role `ingest`."""
    inherited: Sequence[int] = ()
    """Other open file descriptors: held, and handed on to nobody."""
    settled: bool = False
    """The addresses are systemd's or the command line's: what the configuration says of them does not count."""
    routes: Sequence[str] = ()
    """Hooks of another process that have HTTP routes; for the role `ingest`."""
    watchdog: float | None = None
    """Seconds within which it has to say that all is well."""


class Change(Struct, frozen=True):
    """Another configuration, to be prepared under its number."""

    number: int
    loaded: LoadedConfig


class _Pickler(pickle.Pickler):
    """As pickle's, with secrets, which elsewhere refuse."""

    dispatch_table = copyreg.dispatch_table | {Secret: lambda secret: (Secret, (secret.reveal(),))}


def packed(message: Order | Change) -> bytes:
    """The message as it goes over the pair."""
    buffer = io.BytesIO()
    _Pickler(buffer).dump(message)
    return _LENGTH.pack(buffer.tell()) + buffer.getvalue()


def receive(sock: socket.socket) -> Any:
    """The next message; blocks. None at the end: the supervisor is gone."""
    head = _exactly(sock, _LENGTH.size)
    body = None if head is None else _exactly(sock, _LENGTH.unpack(head)[0])
    return None if body is None else pickle.loads(body)  # of the process that started this one


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(size - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)
