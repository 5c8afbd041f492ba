"""One file's events, line by line, from where an earlier run stopped; what the file is is told by its content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain
from typing import Final, Literal

from msgspec import Struct

from cdpd.bring.archive import events_of
from cdpd.bring.event import BadLine, Brought, Treatment
from cdpd.bring.mapping import Columns
from cdpd.bring.table import Table
from cdpd.bring.unpack import MAX_LINE, Unreadable, lines, unpacked

Format = Literal["auto", "segment", "rudder", "csv"]
Unit = list[Brought | BadLine]
"""What one line holds, or one row; mostly one event."""

_LOOKED_AT: Final = 10
"""Lines by which a file's format is told."""
_TOO_LONG: Final = BadLine(f"longer than {MAX_LINE // 1024 // 1024} MiB: no event")
_NO_MAPPING: Final = (
    "a CSV file needs a mapping: "
    "--set type=track --set event=NAME --column userId=COLUMN …, or --map FILE.toml"
)


class Mark(Struct, frozen=True):
    """How far a file was read: its first `lines` lines, and a digest of them."""

    lines: int
    digest: bytes


class Changed(Exception):
    """The lines that were read before are not what they were."""


class Reading:
    """Reads a file once."""

    def __init__(
        self, pieces: Iterable[bytes], form: Format, columns: Columns | None, treatment: Treatment, name: str
    ) -> None:
        self.lines = 0
        """Lines that the units up to now took."""
        self._pieces = pieces
        self._form: Format = form
        self._columns = columns
        self._treatment = treatment
        self._name = name
        self._digest = blake2b(digest_size=16)
        self._settled = (0, self._digest.copy())

    @property
    def mark(self) -> Mark:
        """How far it is, the last unit included."""
        return Mark(self.lines, self._digest.digest())

    @property
    def settled(self) -> Mark:
        """How far it is up to the last unit after which another one was asked for."""
        count, digest = self._settled
        return Mark(count, digest.digest())

    def units(self, after: Mark | None = None) -> Iterator[Unit]:
        """What the lines after `after` hold. Raises Unreadable; Changed where the lines before are others."""
        source = lines(unpacked(self._pieces))
        first, rest = _begun(source)
        is_csv = self._is_csv([line.strip() for line in first if line and line.strip()])
        whole = self._counted(chain(first, rest), after)
        done = 0 if after is None else after.lines
        for unit in self._rows(whole) if is_csv else self._lines(whole, done):
            if self.lines > done:
                yield unit
            self._settled = (self.lines, self._digest.copy())
        if self.lines < done:
            raise Changed

    def _is_csv(self, shown: list[bytes]) -> bool:
        if self._form == "csv" or (self._form == "auto" and shown and not any(map(_like_json, shown))):
            if self._columns is None:
                if self._form == "csv" or self._name.endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
                    raise Unreadable(_NO_MAPPING)
                raise Unreadable(f"its lines are no JSON objects; if it is CSV: {_NO_MAPPING}")
            return True
        if shown and shown[0].startswith(b"["):
            raise Unreadable("this is one JSON array, not an event a line; `jq -c '.[]'` makes lines of it")
        return False

    def _counted(self, source: Iterable[bytes | None], after: Mark | None) -> Iterator[bytes | None]:
        for line in source:
            self.lines += 1
            self._digest.update(b"\0" if line is None else line + b"\n")
            if after is not None and self.lines == after.lines and self.mark != after:
                raise Changed
            yield line

    def _lines(self, source: Iterable[bytes | None], done: int) -> Iterator[Unit]:
        form: Literal["auto", "segment", "rudder"] = "auto" if self._form == "csv" else self._form
        for line in source:
            if self.lines <= done or (line is not None and not line.strip()):
                yield []
            elif line is None:
                yield [_TOO_LONG]
            else:
                yield list(events_of(line, form, self._treatment))

    def _rows(self, source: Iterable[bytes | None]) -> Iterator[Unit]:
        def texts() -> Iterator[str]:
            for line in source:
                if line is None:
                    raise Unreadable(f"a line is longer than {MAX_LINE // 1024 // 1024} MiB")
                yield line.decode(errors="surrogateescape") + "\n"

        assert self._columns is not None  # _is_csv saw to it
        for row in Table(texts(), self._columns, self._treatment).rows():
            yield [row]


def _begun(source: Iterator[bytes | None]) -> tuple[list[bytes | None], Iterator[bytes | None]]:
    """The first lines, and the rest; what breaks off among the first does so after them."""
    first: list[bytes | None] = []
    try:
        for line in source:
            first.append(line)
            if len(first) == _LOOKED_AT:
                break
    except Unreadable as error:
        return first, _breaking_off(error)
    return first, source


def _breaking_off(error: Unreadable) -> Iterator[bytes | None]:
    yield from ()
    raise error


def _like_json(line: bytes) -> bool:
    return line.startswith((b"{", b"["))
