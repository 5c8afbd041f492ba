"""Sockets that systemd hands over (socket activation, sd_listen_fds(3)): taken once, never unlinked, never shut down.

They outlive the daemon: what connects while it restarts waits in their queue.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import Final

from cdpd.config.address import Listen
from cdpd.ingest.sockets import ListenError, Listening

FIRST: Final = 3
"""The first file descriptor; the others follow."""
TLS_NAME: Final = "https"
"""A socket whose name (FileDescriptorName=) begins so speaks TLS."""


def take_handed(environ: MutableMapping[str, str], *, first: int = FIRST) -> list[Listening]:
    """What was handed to this process, in systemd's order; [] where nothing was.

    Removes the variables from `environ`, so that nobody takes them again. Raises ListenError for what is no
    listening stream socket.
    """
    pid, count = environ.get("LISTEN_PID", ""), environ.get("LISTEN_FDS", "")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    taken: list[Listening] = []
    try:
        for i in range(int(count)):
            taken.append(_take(first + i, names[i] if i < len(names) else ""))
    except BaseException:
        for each in taken:
            each.close()
        raise
    return taken


def _take(descriptor: int, name: str) -> Listening:
    what = f"file descriptor {descriptor} of systemd" + (f" ({name})" if name else "")
    nowhere = Listen("", 0, path=f"@{what}")
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ListenError(nowhere, f"it is no socket ({(error.strerror or str(error)).lower()})") from None
    listening = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not listening or sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        sock.close()
        raise ListenError(nowhere, "it takes no connections: the unit needs ListenStream= and Accept=no")
    sock.setblocking(False)
    tls = name.startswith(TLS_NAME)
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = os.fsdecode(address)
        path = "@" + path[1:] if path.startswith("\0") else path
        return Listening(Listen("", 0, path=path, tls=tls), [sock])
    return Listening(Listen(address[0], address[1], tls=tls), [sock])
