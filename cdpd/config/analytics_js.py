"""The files behind `[http] analytics_js`: the browser library as the user took it from its npm package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from cdpd.config.rules import table
from cdpd.config.shape import Fault

ENTRY: Final = "standalone.js"
"""The file that pages load, under the name that it has in the package."""
LARGEST: Final = 4 * 1024 * 1024
"""Bytes that one file may have; the package's largest has some 100 kB."""
MOST: Final = 200
"""Chunks that may lie beside it; the package has eight."""
HINT: Final = "name dist/umd of the npm package @segment/analytics-next, or the standalone.js in it"
_CHUNK: Final = re.compile(r"[A-Za-z0-9_-]{1,100}\.bundle\.([0-9a-f]{8,64})\.js", re.ASCII)
_ASKED: Final = re.compile(rb'\b\d+:"([0-9a-f]{20})"')
"""The hashes of the chunks that it may ask for, in the table that webpack puts into it."""

_MARK: Final = b"_loadOptions"
"""What the snippet leaves for it; of the package's files only standalone.js looks at that."""


class LibraryFiles(Struct, frozen=True):
    """The library's files, read."""

    entry: bytes
    chunks: dict[str, bytes]
    """By name, which holds a hash of the content: `schemaFilter.bundle.a6a77355d52c20e3a83d.js`."""


def read_library(path: Path) -> LibraryFiles:
    """The library at `path`: standalone.js itself, the folder that holds it, or the package's own.

    Raises ValueError that says what is wrong with it.
    """
    entry = _entry(path)
    content = _read(entry)
    if _MARK not in content:
        raise ValueError(f"{entry} is not the library for pages: {HINT}")
    chunks: dict[str, bytes] = {}
    hashes = set()
    try:
        names = sorted(found.name for found in entry.parent.iterdir())
    except OSError as error:
        raise ValueError(f"{entry.parent} cannot be read: {_reason(error)}") from None
    for name in names:
        chunk = _CHUNK.fullmatch(name)
        if chunk:
            if len(chunks) == MOST:
                raise ValueError(f"{entry.parent} holds more than {MOST} chunks: {HINT}")
            chunks[name] = _read(entry.parent / name)
            hashes.add(chunk[1])
    missing = sorted(text.decode() for text in set(_ASKED.findall(content)) if text.decode() not in hashes)
    if missing:
        raise ValueError(
            f"{entry} asks for chunks that are not beside it (*.bundle.{missing[0]}.js"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}): copy the whole folder of one version"
        )
    return LibraryFiles(content, chunks)


def configured_library(data: dict[str, Any], folder: Path) -> LibraryFiles | Fault | None:
    """The files that `[http] analytics_js` names, or what is wrong with them; a relative path is below `folder`."""
    value = table(data, "http").get("analytics_js")
    if not isinstance(value, str):
        return None
    try:
        return read_library(folder.absolute() / Path(value).expanduser())
    except ValueError as error:
        return Fault(("http", "analytics_js"), str(error))


def _entry(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        # A folder that may not be entered is no folder either.
        raise ValueError(f"there is no file or folder {path} that can be read: {HINT}")
    for found in (path / ENTRY, path / "dist" / "umd" / ENTRY):
        if found.is_file():
            return found
    raise ValueError(f"there is no {ENTRY} in {path}: {HINT}")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {_reason(error)}") from None
    if not content:
        raise ValueError(f"{path} is empty: {HINT}")
    if len(content) > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST} bytes: {HINT}")
    return content


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
