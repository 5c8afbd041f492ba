"""What the control API asks of the daemon, and the forms of what is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from cdpd.timestamp import parse_time


class DiscardedFilter(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True, kw_only=True):
    """Which lines of `discarded` are meant; what is not given does not restrict."""

    code: str | None = None
    by: str | None = None
    """The hook plugin's name, or `ingest`."""
    source: str | None = None
    message_id: str | None = None
    from_ms: int | None = None
    """Discarded at or after this time, milliseconds since the epoch …"""
    to_ms: int | None = None
    """… and before this one."""
    from_offset: int | None = None
    """At or after this offset in `discarded` …"""
    to_offset: int | None = None
    """… and before this one."""

    def takes(self, offset: int, text: bytes) -> bool:
        """Whether the line `text` of `discarded`, at that offset, is meant. Raises msgspec.DecodeError."""
        if not _between(offset, self.from_offset, self.to_offset):
            return False
        line = _decode(text)
        return (
            self.code in (None, line.code)
            and self.by in (None, line.by)
            and self.source in (None, line.line.source)
            and self.message_id in (None, line.line.message_id)
            and (self.from_ms is self.to_ms is None or self._in_time(line.at))
        )

    def _in_time(self, text: str) -> bool:
        at = parse_time(text)
        return at is not None and _between(at, self.from_ms, self.to_ms)


def _between(value: int, first: int | None, end: int | None) -> bool:
    return (first is None or value >= first) and (end is None or value < end)


class _Received(Struct, rename="camel", frozen=True):
    source: str = ""
    message_id: str = ""


class _Discarded(Struct, frozen=True):
    at: str = ""
    by: str = ""
    code: str = ""
    line: _Received = _Received()


_decode: Final = msgspec.json.Decoder(_Discarded).decode


class RetryRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body of `POST /discarded/retry`."""

    filter: DiscardedFilter = DiscardedFilter()
    dry_run: bool = False


class CannotDo(Exception):
    """What was asked for cannot be done; the text says why, and reaches the person who asked."""


class Busy(CannotDo):
    """It cannot be done at this moment: the same call may go through a bit later."""


Calls = Mapping[str, Callable[[bytes], Awaitable[dict[str, Any]]]]
"""Calls of a part of the daemon: `METHOD /path` → makes the answer (which JSON can hold) of a request's body.

May raise CannotDo, Busy, msgspec.DecodeError (the body is wrong) or ConfigError.
"""


class Controlled(Protocol):
    """The daemon, as the control API sees it. Every answer is a dict that JSON can hold."""

    async def status(self) -> dict[str, Any]:
        """What runs, since when, and how far each part is."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Apply the configuration as it stands in its files now; what changed, and what needs a restart.

        Raises cdpd.config.problem.ConfigError and changes nothing where it is wrong.
        """
        ...

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        """Append the matching lines to `received` again: `{"matched": n, "retried": n, "skipped": n}`.

        With `dry_run` only counts.
        """
        ...

    async def reopen(self) -> dict[str, Any]:
        """Open output files again, after logrotate moved them."""
        ...
