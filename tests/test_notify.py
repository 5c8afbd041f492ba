"""sd_notify: what a service manager hears, over a path or an abstract socket, and that nobody has to be there."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdpd.notify import Notifier


class Manager:
    """The other end: reads what was sent."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self._sock = sock
        self.address = address

    def heard(self) -> list[str]:
        """Every message so far; of the monotonic time only that it is there."""
        said = []
        while True:
            try:
                text = self._sock.recv(4096).decode()
            except BlockingIOError:
                return said
            head, mark, rest = text.partition("MONOTONIC_USEC=")
            said.append(head + (f"{mark}N" if rest.isdecimal() else mark + rest))


@contextmanager
def manager(address: str) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        sock.setblocking(False)
        yield Manager(sock, address)


@pytest.fixture(params=["path", "abstract"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@cdpd-test-{secrets.token_hex(8)}"
    with manager(address) as one:
        yield one


def test_a_managers_variables_are_understood(there: Manager) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": there.address, "WATCHDOG_USEC": "30000000"})
    assert notifier.watchdog == 30
    assert notifier.listens
    notifier.ready("on http://127.0.0.1:8080")
    notifier.alive()
    assert there.heard() == ["READY=1\nSTATUS=on http://127.0.0.1:8080", "WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_a_watchdog_is_ours_only_if_it_says_so(environ: dict[str, str], seconds: float | None) -> None:
    assert Notifier.of(environ).watchdog == seconds


def test_a_reload_is_told_when_it_begins_and_when_it_is_over_however_it_ends(there: Manager) -> None:
    notifier = Notifier(there.address)
    notifier.ready("")
    there.heard()

    def fail() -> None:
        with notifier.reloading():
            assert there.heard() == ["RELOADING=1\nMONOTONIC_USEC=N"]
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert there.heard() == ["READY=1"]


def test_before_it_is_ready_and_once_it_stops_it_never_says_that_it_is_ready(there: Manager) -> None:
    notifier = Notifier(there.address)
    notifier.status("too early")
    with notifier.reloading():
        pass
    assert there.heard() == []
    notifier.ready("")
    there.heard()
    with notifier.reloading():
        notifier.stopping()
    assert [text.partition("\n")[0] for text in there.heard()] == ["RELOADING=1", "STOPPING=1"]


def test_a_status_is_one_line_and_told_once(there: Manager) -> None:
    notifier = Notifier(there.address)
    notifier.ready("well")
    there.heard()
    for text in ("well", "not\nwell", "not well", "well"):
        notifier.status(text)
    assert there.heard() == ["STATUS=not well", "STATUS=well"]


def test_nobody_there_is_no_trouble(tmp_path: Path) -> None:
    for notifier in (Notifier.of({}), Notifier(str(tmp_path / "gone"))):
        notifier.ready("")
        notifier.alive()
        with notifier.reloading():
            pass
        notifier.stopping()
