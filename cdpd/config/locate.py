"""Where each key and value stands in a TOML text that tomllib has accepted (tomllib tells no places)."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

from msgspec import Struct

Path = tuple[str | int, ...]
"""From the top of the document: table keys, and indexes into arrays and arrays of tables."""

_BLANK: Final = re.compile(r"[ \t]*")
_BLANK_LINES: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_KEY: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'  # up to two more quotes belong to the text
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}\n#]+")


class Span(Struct, frozen=True):
    """Where something stands: offsets into the text, the end excluded."""

    start: int
    end: int


class Places:
    """The places of one text. A table's value stands where its key does."""

    def __init__(self, text: str) -> None:
        self.keys: dict[Path, Span] = {}
        self.values: dict[Path, Span] = {}
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def line_column(self, offset: int) -> tuple[int, int]:
        """1-based; a column is a character."""
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def key(self, path: Path) -> Span | None:
        """Where the key stands; for an element of an array, the element; else the nearest table around it."""
        return self._nearest(path, self.keys, self.values)

    def value(self, path: Path) -> Span | None:
        """Where the value stands; a table's is its key; else the nearest table around it."""
        return self._nearest(path, self.values, self.keys)

    @staticmethod
    def _nearest(path: Path, first: dict[Path, Span], second: dict[Path, Span]) -> Span | None:
        while path:
            found = first.get(path) or second.get(path)
            if found is not None:
                return found
            path = path[:-1]
        return None


def locate(text: str) -> Places:
    """The places in `text`, which must be valid TOML with line breaks as tomllib sees them (`\\n` only)."""
    return _Scanner(text).document()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places = Places(text)
        self.counts: dict[Path, int] = {}  # elements so far of each array of tables

    def document(self) -> Places:
        table: Path = ()
        while self._skip(_BLANK_LINES) < len(self.text):
            if self._take("[["):
                table = self._header(array=True)
            elif self._take("["):
                table = self._header(array=False)
            else:
                self._pair(table)
        return self.places

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        assert match is not None  # both patterns match the empty string
        self.at = match.end()
        return self.at

    def _take(self, mark: str) -> bool:
        if self.text.startswith(mark, self.at):
            self.at += len(mark)
            return True
        return False

    def _match(self, pattern: re.Pattern[str]) -> Span:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"not TOML at offset {self.at}")
        self.at = match.end()
        return Span(match.start(), match.end())

    def _dotted(self) -> list[tuple[str, Span]]:
        parts = []
        while True:
            self._skip(_BLANK)
            span = self._match(_KEY)
            parts.append((_key_text(self.text[span.start : span.end]), span))
            self._skip(_BLANK)
            if not self._take("."):
                return parts

    def _header(self, array: bool) -> Path:
        path: Path = ()
        parts = self._dotted()
        for i, (name, span) in enumerate(parts):
            path = (*path, name)
            self.places.keys.setdefault(path, span)
            if array and i == len(parts) - 1:
                index = self.counts.get(path, 0)
                self.counts[path] = index + 1
                path = (*path, index)
                self.places.values[path] = span
            elif path in self.counts:  # [a.b] below [[a]] means the last element of a
                path = (*path, self.counts[path] - 1)
        self._take("]]" if array else "]")
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for name, span in self._dotted():
            path = (*path, name)
            self.places.keys.setdefault(path, span)
        self._take("=")
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        start = self.at
        first = self.text[start]
        if first in "\"'":
            span = self._match(_STRING)
        elif first == "[":
            self.at += 1
            index = 0
            while self.text[self._skip(_BLANK_LINES)] != "]":
                self._value((*path, index))
                index += 1
                self._skip(_BLANK_LINES)
                self._take(",")
            self.at += 1
            span = Span(start, self.at)
        elif first == "{":
            self.at += 1
            while self.text[self._skip(_BLANK_LINES)] != "}":
                self._pair(path)
                self._skip(_BLANK_LINES)
                self._take(",")
            self.at += 1
            span = Span(start, self.at)
        else:
            found = self._match(_SCALAR)
            span = Span(start, start + len(self.text[found.start : found.end].rstrip()))
        self.places.values[path] = span


def _key_text(token: str) -> str:
    if token[0] not in "\"'":
        return token
    return next(iter(tomllib.loads(f"{token} = 0")))
