"""A Unix socket in the data folder that only its owner can reach."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cdpd.control.socket_path import fitting

BACKLOG: Final = 16


class ControlInUse(RuntimeError):
    """Another daemon answers on this socket."""


@contextmanager
def private_socket(path: Path) -> Iterator[socket.socket]:
    """A listening socket `path` (0600) inside the `with`; a stale one is replaced, ours removed at the end.

    Raises ControlInUse where a daemon answers there already, SocketPathTooLong, or OSError.
    """
    listener, mine = _listen(path)
    try:
        yield listener
    finally:
        listener.close()
        _remove(path, mine)


def _remove(path: Path, inode: int) -> None:
    """Remove the socket, unless a newer daemon has put its own in its place."""
    try:
        if path.lstat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        pass


def _listen(path: Path) -> tuple[socket.socket, int]:
    """The listening socket, and the inode by which its file is known."""
    if _answers(path):
        raise ControlInUse(f"another daemon answers on {path}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Made private under another name, then moved over what was there: nobody ever finds it half-made.
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.unlink(missing_ok=True)
    try:
        with fitting(made) as name:
            listener.bind(name)
        made.chmod(0o600)
        listener.listen(BACKLOG)
        inode = made.lstat().st_ino
        made.replace(path)
    except BaseException:
        listener.close()
        made.unlink(missing_ok=True)
        raise
    listener.setblocking(False)
    return listener, inode


def _answers(path: Path) -> bool:
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, fitting(path) as name:
        try:
            probe.connect(name)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True
