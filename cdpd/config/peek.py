"""The few settings that a command needs to find a daemon and its data, read without judging the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from cdpd.config.address import Listen, listens
from cdpd.config.data_folder import data_folder, read_development_key
from cdpd.config.files import SYSTEM_FILE, find_file, read_document
from cdpd.config.model import HttpConfig
from cdpd.config.problem import ConfigError
from cdpd.config.rules import table


class Peek(Struct, frozen=True):
    """What could be read; what is wrong or missing has its default."""

    file: Path | None
    data_dir: Path
    listen: list[Listen]
    write_keys: dict[str, str]
    """Source → its first write key; the development daemon's where there is no file. Enabled sources only."""
    all_keys: dict[str, list[str]] = {}
    """The same with every write key, and with sources that are not enabled."""
    public_url: str | None = None
    analytics_js: bool = False
    """Whether the browser library is served."""


def peek(
    given: Path | None = None,
    data_dir: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    system_file: Path = SYSTEM_FILE,
) -> Peek:
    """Raises ConfigError only where a file cannot be read or is no TOML."""
    environ = os.environ if environ is None else environ
    path = find_file(given, folder or Path(), system_file)
    data: dict[str, Any] = {}
    if path is not None:
        document = read_document(path)
        unreadable = [problem for problem in document.problems if not problem.key]
        if unreadable:
            raise ConfigError(unreadable)
        data = document.data
    configured = table(data, "data").get("dir")
    beside = path.parent if path else None
    where = data_folder(data_dir, configured if isinstance(configured, str) else None, beside, environ)
    keys, all_keys = _write_keys(data), _all_keys(data)
    if path is None:
        development = read_development_key(where)
        keys = {"dev": development} if development else {}
        all_keys = {name: [key] for name, key in keys.items()}
    http = table(data, "http")
    url = http.get("public_url")
    return Peek(
        path,
        where,
        _listen(http.get("listen")),
        keys,
        all_keys,
        url.rstrip("/") if isinstance(url, str) else None,
        isinstance(http.get("analytics_js"), str),
    )


def _listen(value: object) -> list[Listen]:
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
    try:
        return listens(texts or HttpConfig().listen)
    except ValueError:
        return listens(HttpConfig().listen)


def _write_keys(data: dict[str, Any]) -> dict[str, str]:
    found = {}
    for name, source in table(data, "sources").items():
        keys = source.get("write_keys") if isinstance(source, dict) else None
        if (
            isinstance(keys, list)
            and keys
            and isinstance(keys[0], str)
            and source.get("enabled") is not False
        ):
            found[name] = keys[0]
    return found


def _all_keys(data: dict[str, Any]) -> dict[str, list[str]]:
    found = {}
    for name, source in table(data, "sources").items():
        keys = source.get("write_keys") if isinstance(source, dict) else None
        if isinstance(keys, list) and keys and all(isinstance(key, str) for key in keys):
            found[name] = keys
    return found
