"""What `cdpd function test` knows of a file: what it is for, and what the configuration gives it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.located import config_error
from cdpd.config.files import SYSTEM_FILE, find_file, read_document
from cdpd.config.functions import HANDLERS, ON_REQUEST, Kind, file_fault, named, read_settings, revealed
from cdpd.config.problem import ConfigError

_USUAL_TIMEOUT = {"source": 5.0, "insert": 5.0, "destination": 10.0}


class Known(Struct):
    """A function to be tried."""

    file: str
    kind: Kind
    settings: dict[str, Any]
    """Secrets are plain texts."""
    timeout: float
    """Seconds."""


def known_function(file: Path, kind: str | None, config: Path | None, settings: dict[str, Any]) -> Known:
    """From the configuration where that names the file, else by its handlers. `settings` win. Raises CommandError."""
    options: dict[str, Any] = {}
    if kind is None or config is not None or find_file(None, Path(), SYSTEM_FILE) is not None:
        for found_kind, found in _configured(file, config):
            if kind in (None, found_kind):
                kind, options = found_kind, found
                break
    kind = kind or _guessed(file)
    fault = file_fault(file, kind)
    if fault is not None:
        raise CommandError("; ".join(text for text in fault if text), USAGE)
    try:
        settings = revealed(read_settings({**options.get("settings", {}), **settings}))
    except ValueError as error:
        raise CommandError(f"{error}; --set gives another value", USAGE) from None
    timeout = options.get("timeout", _USUAL_TIMEOUT[kind])
    return Known(str(file.absolute()), cast(Kind, kind), settings, float(timeout))


def _configured(file: Path, config: Path | None) -> list[tuple[str, dict[str, Any]]]:
    """What the configuration says of this file: (what it is for, the table it is named in)."""
    try:
        where = find_file(config, Path(), SYSTEM_FILE)
        if where is None:
            return []
        data = read_document(where).data
    except ConfigError as error:
        raise config_error(error.problems) from None
    found = []
    for _, kind, options, key in named(data):
        named_file = where.parent / Path(options[key]).expanduser()
        if named_file.resolve() == file.resolve():
            # A file's name alone stands in the table of the source or destination, whose options are not its own.
            found.append((kind, options if key == "file" else {}))
    return found


def _guessed(file: Path) -> str:
    """By its handlers; `on_track` that returns something is that of an insert function."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return "insert"  # what is wrong is told next
    functions = {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    if ON_REQUEST in functions:
        return "source"
    returns = any(
        isinstance(inner, ast.Return) and inner.value is not None
        for name in HANDLERS["insert"]
        if name in functions and name != "on_batch"
        for inner in ast.walk(functions[name])
    )
    return "insert" if returns else "destination"
