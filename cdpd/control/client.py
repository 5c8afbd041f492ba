"""Asking a running daemon, from a command: blocking, standard library only (aiohttp takes long to import)."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.config.problem import Problem
from cdpd.control.contract import DiscardedFilter, RetryRequest
from cdpd.control.socket_path import fitting

_LONG: Final = 60.0
"""How many times longer than others a call may take that goes through a stream, or starts plugins."""


class NotRunning(Exception):
    """No daemon answers on the data folder's socket."""


class NoAnswer(NotRunning):
    """Somebody listens on the socket, and says nothing in time."""


class ControlRefused(Exception):
    """The daemon answered with an error; `problems` where its configuration is wrong."""

    def __init__(self, code: str, message: str, problems: list[Problem]) -> None:
        super().__init__(message)
        self.code = code
        self.problems = problems


class _Error(Struct):
    code: str = "internal"
    message: str = "the daemon failed"
    problems: list[Problem] = []


class _ErrorAnswer(Struct):
    error: _Error


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._seconds = timeout

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        with fitting(self._path) as name:
            self.sock.connect(name)


class ControlClient:
    """The control API of the daemon whose socket is `path`. A call may raise NotRunning or ControlRefused."""

    def __init__(self, path: Path, timeout: float = 60.0) -> None:
        self.path = path
        self.timeout = timeout

    def status(self) -> dict[str, Any]:
        return self._ask("GET", "/status")

    def reload(self) -> dict[str, Any]:
        return self._ask("POST", "/reload", patience=_LONG)

    def reopen(self) -> dict[str, Any]:
        return self._ask("POST", "/reopen")

    def retry_discarded(self, which: DiscardedFilter, dry_run: bool = False) -> dict[str, Any]:
        return self._ask("POST", "/discarded/retry", RetryRequest(filter=which, dry_run=dry_run), _LONG)

    def call(self, name: str, body: Struct | bytes | None = None, patience: float = 1.0) -> dict[str, Any]:
        """A call that a part of the daemon brings: `METHOD /path` (cdpd/control/contract.py, Calls)."""
        method, _, path = name.partition(" ")
        return self._ask(method, path, body, patience)

    def _ask(
        self, method: str, path: str, body: Struct | bytes | None = None, patience: float = 1.0
    ) -> dict[str, Any]:
        timeout = self.timeout * patience
        connection = UnixConnection(self.path, timeout)
        try:
            connection.request(
                method,
                path,
                body=msgspec.json.encode(body) if isinstance(body, Struct) else body,
                headers={"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            content = answer.read()
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"no daemon is running on {self.path.parent}") from None
        except TimeoutError:
            raise NoAnswer(
                f"the daemon on {self.path.parent} does not answer (waited {timeout:g} s)"
            ) from None
        except PermissionError:
            message = f"{self.path} belongs to another user: ask as the user that the daemon runs as"
            raise ControlRefused("forbidden", message, []) from None
        except (http.client.HTTPException, ConnectionError):
            raise NotRunning(f"the daemon on {self.path.parent} went away while it was asked") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise _refused(content)
        decoded: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
        return decoded


def _refused(content: bytes) -> ControlRefused:
    try:
        error = msgspec.json.decode(content, type=_ErrorAnswer).error
    except msgspec.DecodeError:
        error = _Error()
    return ControlRefused(error.code, error.message, error.problems)
