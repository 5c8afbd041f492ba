"""Sending batches of events to a daemon: bounded batches, bounded retries, `Retry-After` obeyed.

Standard library only: aiohttp takes longer to import than most sends take.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from cdpd.cli.event_input import Ready
from cdpd.cli.exits import USAGE, CommandError
from cdpd.control.client import UnixConnection

MAX_BYTES: Final = 400_000
MAX_EVENTS: Final = 500
_LONGEST_WAIT: Final = 30.0
_RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})


class Refused(Exception):
    """The daemon will not take this batch; sending it again would change nothing."""

    def __init__(self, message: str, final: bool, unheard: bool = False) -> None:
        super().__init__(message)
        self.final = final
        """True where no other batch would fare better (wrong key, nobody there)."""
        self.unheard = unheard
        """Nobody answered."""


class _ErrorAnswer(Struct):
    message: str = ""
    error: msgspec.Raw = msgspec.Raw(b'""')


def batches(events: Iterable[Ready]) -> Iterator[list[Ready]]:
    """In order, as large as allowed; a single larger event goes alone."""
    batch: list[Ready] = []
    size = 0
    for event in events:
        if batch and (size + len(event.text) + 1 > MAX_BYTES or len(batch) >= MAX_EVENTS):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event.text) + 1
    if batch:
        yield batch


class Uploader:
    """One connection to a daemon, kept open between batches."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        sleep: Callable[[float], None],
        retries: int = 5,
        timeout: float = 30.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        parts = urlsplit(url)
        unix = parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc
        if not unix and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise CommandError(f"--url: {url!r} is no address: write http://HOST:PORT or unix:/PATH", USAGE)
        self.url = url
        self._path = ("" if unix else parts.path.rstrip("/")) + "/v1/batch"
        self._authorization = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
        self._sleep, self._retries, self._say = sleep, retries, say
        self._connection: http.client.HTTPConnection
        if unix:
            self._connection = UnixConnection(Path(parts.path), timeout)
        elif parts.scheme == "https":
            assert parts.hostname is not None
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout, context=context
            )
        else:
            assert parts.hostname is not None
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)

    def send(self, batch: list[Ready]) -> None:
        """Returns once the daemon has answered that the events are on its disk. Raises Refused."""
        body = b'{"batch":[' + b",".join(event.text for event in batch) + b"]}"
        wait = 0.25
        for attempt in range(self._retries + 1):
            status, reason, asked = self._post(body, attempt)
            if status == 200:
                return
            if status is not None and status not in _RETRIED:
                raise Refused(f"{self.url} answered {status}: {reason}", final=status in (401, 403, 404, 405))
            if attempt < self._retries:
                pause = min(asked if asked is not None else wait, _LONGEST_WAIT)
                self._say(f"{reason}; trying again in {pause:g} s")
                self._sleep(pause)
                wait *= 2
        tried = f" (tried {self._retries + 1} times)" if self._retries else ""
        raise Refused(f"{self.url}: {reason}{tried}", final=True, unheard=status is None)

    def close(self) -> None:
        self._connection.close()

    def _post(self, body: bytes, attempt: int) -> tuple[int | None, str, float | None]:
        """(status, or None where nobody answered; why; seconds that the daemon asked to wait)"""
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        if attempt:
            headers["X-Retry-Count"] = str(attempt)
        try:
            self._connection.request("POST", self._path, body=body, headers=headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (ConnectionRefusedError, FileNotFoundError):
            self._connection.close()
            return None, "nobody listens there: is the daemon running?", None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return None, str(error) or type(error).__name__, None
        return answer.status, _reason(content, answer.reason), _seconds(answer.getheader("Retry-After"))


def _reason(content: bytes, otherwise: str) -> str:
    try:
        answer = msgspec.json.decode(content, type=_ErrorAnswer)
        inner = msgspec.json.decode(answer.error)
    except msgspec.DecodeError:
        return otherwise
    if isinstance(inner, dict):
        inner = inner.get("message")
    return answer.message or (inner if isinstance(inner, str) else "") or otherwise


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdecimal() else None
