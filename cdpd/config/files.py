"""The configuration's files: which ones, what they say together, and where each key stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from cdpd.config import locate
from cdpd.config.problem import ConfigError, Problem, key_text

SYSTEM_FILE: Final = Path("/etc/cdpd/cdpd.toml")
_TOML_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


class ConfigFile(Struct, frozen=True):
    """One file, read."""

    path: Path
    text: str
    data: dict[str, Any]
    places: locate.Places


class Document:
    """One or more files as one table. Tables merge; any other key that stands in two files is a problem."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.files: list[ConfigFile] = []
        self.problems: list[Problem] = []

    def add(self, file: ConfigFile) -> None:
        self._merge(self.data, file.data, (), file)
        self.files.append(file)

    def _merge(self, into: dict[str, Any], new: dict[str, Any], path: locate.Path, file: ConfigFile) -> None:
        for key, value in new.items():
            here = (*path, key)
            if key not in into:
                into[key] = _copy(value)
            elif isinstance(into[key], dict) and isinstance(value, dict):
                self._merge(into[key], value, here, file)
            else:
                first = self.problem(here, "", at_key=True)
                line, column = file.places.line_column(_start(file.places.key(here)))
                self.problems.append(
                    Problem(
                        f"set twice: also at {first.file}:{first.line}:{first.column}",
                        str(file.path), line, column, key_text(here), "keep one of them",
                    )
                )  # fmt: skip

    def problem(self, path: locate.Path, message: str, suggestion: str = "", at_key: bool = False) -> Problem:
        """A problem at the place of `path`, or of the nearest table around it that stands in a file."""
        prefix = path
        while prefix:
            for file in self.files:
                places = file.places
                first, second = (places.keys, places.values) if at_key else (places.values, places.keys)
                span = first.get(prefix) or second.get(prefix)
                if span is not None:
                    line, column = places.line_column(span.start)
                    return Problem(message, str(file.path), line, column, key_text(path), suggestion)
            prefix = prefix[:-1]
        name = str(self.files[0].path) if self.files else ""
        return Problem(message, name, key=key_text(path), suggestion=suggestion)


def _start(span: locate.Span | None) -> int:
    return span.start if span else 0


def _copy(value: Any) -> Any:
    """Tables are merged into: not the file's own."""
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def find_file(given: Path | None, folder: Path, system_file: Path = SYSTEM_FILE) -> Path | None:
    """`given`, else `cdpd.toml` in `folder`, else the system's; None where there is none."""
    if given is not None:
        return given
    local = folder / "cdpd.toml"
    return next((path for path in (local, system_file) if path.is_file()), None)


def read_document(path: Path) -> Document:
    """The file and `conf.d/*.toml` beside it, in name order; files that cannot be read are its problems."""
    document = Document()
    for each in (path, *sorted(path.parent.glob("conf.d/*.toml"))):
        try:
            document.add(read_file(each))
        except ConfigError as error:
            document.problems.extend(error.problems)
    return document


def read_file(path: Path) -> ConfigFile:
    """Raises ConfigError with the place of what is no TOML."""
    try:
        content = path.read_bytes()
    except OSError as error:
        hint = "" if path.exists() else "`cdpd init` writes a configuration to start from"
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([Problem(f"cannot be read: {reason}", str(path), suggestion=hint)]) from None
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(errors="replace").split("\n")
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise ConfigError(
            [
                Problem(
                    message, str(path), len(before), len(before[-1]) + 1, suggestion="save the file as UTF-8"
                )
            ]
        ) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(path, text, str(error))]) from None
    except RecursionError:
        raise ConfigError([Problem("is nested too deeply", str(path))]) from None
    return ConfigFile(path, text, data, locate.locate(text))


def _syntax_problem(path: Path, text: str, message: str) -> Problem:
    lines = text.split("\n")
    place = _TOML_PLACE.search(message)
    if place and place[1]:
        line, column = int(place[1]), int(place[2])
    else:
        line, column = len(lines), len(lines[-1]) + 1
    message = _TOML_PLACE.sub("", message)
    return Problem(
        f"not valid TOML: {message[:1].lower()}{message[1:]}", str(path), line, column, "", _hint(message)
    )


def _hint(message: str) -> str:
    """What to do about a message of tomllib's, where one can tell."""
    if message.startswith("Invalid value"):
        return 'a string needs quotes: key = "text"'
    if message.startswith(("Cannot declare", "Cannot overwrite", "Cannot mutate", "Duplicate")):
        return "each table and each key may stand once in a file"
    if message.startswith("Expected '=' after a key"):
        return "write key = value; a section's name stands in brackets: [http]"
    return ""
