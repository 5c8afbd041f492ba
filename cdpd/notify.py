"""Telling the service manager how the daemon is: sd_notify(3), over the socket that $NOTIFY_SOCKET names.

Without that variable nothing is told to nobody. Needs no library of systemd's.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

_PATIENCE: Final = 1.0
"""Seconds that a manager which does not read may hold us up; then the message is lost."""


class Notifier:
    """The manager of this process, if there is one. Nothing here raises: a message that is lost is lost."""

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self.watchdog = watchdog
        """Seconds within which the manager wants to hear that all is well, else it ends the daemon; or None."""
        self._address = address
        self._told = ""
        self._ready = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        """As the environment says ($NOTIFY_SOCKET, $WATCHDOG_USEC, $WATCHDOG_PID)."""
        usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        mine = pid in ("", str(os.getpid())) and usec.isdecimal() and int(usec) > 0
        return cls(environ.get("NOTIFY_SOCKET") or None, int(usec) / 1e6 if mine else None)

    @property
    def listens(self) -> bool:
        """Whether somebody hears us."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """The start is over; with the first line of `status`."""
        self._ready, self._told = True, status
        self._send("READY=1", f"STATUS={status}")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """A reload is under way inside the `with`, whether it succeeds or not."""
        if self._ready:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            if self._ready:
                self._send("READY=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._ready = False
        self._send("STOPPING=1", "STATUS=stopping: finishing what has begun")

    def alive(self) -> None:
        """All is well, for as long as `watchdog` says."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; the same as before is not sent again, nor any before `ready`."""
        text = " ".join(text.split())
        if self._ready and text != self._told:
            self._told = text
            self._send(f"STATUS={text}")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        address = self._address
        if address.startswith("@"):  # an abstract socket
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_PATIENCE)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass  # the manager hears the next one, or ends us by its watchdog
