"""The four times of an event, corrected for the client's clock. Source: the table of wire.md §9; never clamped.

Works on JSON text, since a time that is in the output form already keeps its text.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Raw

from cdpd.section import decode_value
from cdpd.timestamp import format_time, parse_time

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_iso: Final = datetime.fromisoformat
_MOST_KEPT: Final = 4096
_NULL: Final = Raw(b"null")


class Times:
    """Reads and writes times. Remembers the seconds that it wrote, and the last batch's own time."""

    def __init__(self) -> None:
        self._seconds: dict[int, bytes] = {}
        self._written: dict[int, Raw] = {}
        self._plain: tuple[Any, int | None, bool] = (None, None, False)

    def read(self, raw: Raw | None) -> tuple[int | None, Raw | None, bool]:
        """(milliseconds, the text in the output form where it is in it already, whether it is a wrong time).

        Absent are a missing field, null and blank text; those are not wrong.
        """
        if raw is None or raw == _NULL:
            return None, None, False
        text = bytes(raw)
        # "YYYY-MM-DDTHH:MM:SS.mmmZ" with its quotes: what most SDKs send, and what goes out
        if len(text) == 26 and text[8] == 0x2D and text[11] == 0x54 and text[20] == 0x2E and text[24] == 0x5A:
            try:
                return (_iso(text[1:25].decode()) - _EPOCH) // _MS, raw, False
            except ValueError:  # it only looks like one: no such day, letters for digits
                pass
        value = decode_value(raw)
        ms = parse_time(value)
        return ms, None, ms is None and value is not None and value != ""

    def read_plain(self, value: Any) -> tuple[int | None, bool]:
        """As `read`, for a decoded value that the events of a batch share."""
        known, ms, wrong = self._plain
        if value is not known:
            ms = parse_time(value)
            wrong = ms is None and value is not None and value != ""
            self._plain = (value, ms, wrong)
        return ms, wrong

    def write_again(self, ms: int) -> Raw:
        """As `write`, for a time that the events of a batch share."""
        text = self._written.get(ms)
        if text is None:
            if len(self._written) > _MOST_KEPT:
                self._written.clear()
            text = self._written[ms] = self.write(ms)
        return text

    def write(self, ms: int) -> Raw:
        """The output form. Raises OverflowError outside the years 1 to 9999."""
        second, rest = divmod(ms, 1000)
        prefix = self._seconds.get(second)
        if prefix is None:
            prefix = b'"' + format_time(second * 1000)[:-4].encode()
            if len(self._seconds) > _MOST_KEPT:
                self._seconds.clear()
            self._seconds[second] = prefix
        return Raw(b'%b%03dZ"' % (prefix, rest))
