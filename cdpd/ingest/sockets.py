"""Sockets to listen on: bound here (TCP and Unix), with what has to be tidied up at the end."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.config.address import Listen

BACKLOG: Final = 2048


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


class Listening(Struct):
    """An address with its sockets: one, or several where a host name has several addresses."""

    listen: Listen
    """As it is bound: a port 0 is a real one."""
    sockets: list[socket.socket]
    inode: int | None = None
    """Of a Unix socket's file that is ours to remove."""

    def close(self) -> None:
        """Close the sockets; a Unix socket's file goes too, unless another daemon has put its own there."""
        for sock in self.sockets:
            sock.close()
        if self.inode is not None:
            path = Path(self.listen.path)
            try:
                if path.lstat().st_ino == self.inode:
                    path.unlink()
            except OSError:
                pass  # it is gone, or in a folder that is not ours to write to: the next start replaces it


def bind_all(listen: Sequence[Listen], unix_mode: int) -> list[Listening]:
    """Sockets for each address. Raises ListenError, with none left open."""
    bound: list[Listening] = []
    try:
        for address in listen:
            bound.append(bind_unix(address, unix_mode) if address.path else bind_tcp(address))
    except BaseException:
        for each in bound:
            each.close()
        raise
    return bound


def check_free(listen: Sequence[Listen]) -> None:
    """Could these be bound now? Raises ListenError (AddressInUse), and leaves nothing behind."""
    for address in listen:
        if address.path:
            try:
                taken = Path(address.path).is_socket() and _answers(Path(address.path))
            except OSError as error:
                raise ListenError(address, _reason(address, error)) from None
            if taken:
                raise AddressInUse(address)
        elif address.port:
            bind_tcp(address).close()


def bind_tcp(listen: Listen) -> Listening:
    """A socket for each address of the host, all on one port. Raises ListenError."""
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
            for other in sockets:
                other.close()
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(listen) from None
            raise ListenError(listen, _reason(listen, error)) from None
        port = sock.getsockname()[1]
        sock.setblocking(False)
        sockets.append(sock)
    if not sockets:
        raise ListenError(listen, "no such address on this machine")
    return Listening(Listen(listen.host, port, tls=listen.tls), sockets)


def bind_unix(listen: Listen, mode: int) -> Listening:
    """A Unix socket whose file has these rights; one that nobody answers on any more is replaced.

    Raises ListenError; AddressInUse where somebody answers.
    """
    path = Path(listen.path)
    # Made under another name, then moved over what was there: nobody ever finds it half-made.
    made = path.with_name(f".{path.name}.{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_symlink() or (path.exists() and not path.is_socket()):
            raise ListenError(listen, "there is something else under that name, and it is not a socket")
        if _answers(path):
            raise AddressInUse(listen)
        made.unlink(missing_ok=True)
        sock.bind(str(made))
        made.chmod(mode)
        sock.listen(BACKLOG)
        inode = made.lstat().st_ino
        made.replace(path)
    except OSError as error:
        sock.close()
        _forget(made)
        raise ListenError(listen, _reason(listen, error)) from None
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return Listening(listen, [sock], inode)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _forget(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        pass


def _reason(listen: Listen, error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    if error.errno == errno.EACCES and not listen.path and 0 < listen.port < 1024:
        return (
            f"{text}: ports below 1024 are root's; systemd's cdpd.socket hands one over (systemd/README.md)"
        )
    if error.errno == errno.ENOENT and listen.path:
        return f"{text}: the folder {Path(listen.path).parent} has to exist"
    return text
