"""A made-up package of the browser library, for tests that care about its files and not about what is in them."""

from __future__ import annotations

from pathlib import Path

HASH = "0123456789abcdef0123"
CHUNK = f"schemaFilter.bundle.{HASH}.js"
ENTRY = b'(function(){ /* reads _loadOptions */ var chunks = {104:"' + HASH.encode() + b'"} })();\n' * 40


def write_package(folder: Path, entry: bytes = ENTRY, *chunks: str) -> Path:
    """`folder` as npm leaves it: dist/umd with standalone.js, its chunks and the rest. Returns dist/umd."""
    umd = folder / "dist" / "umd"
    umd.mkdir(parents=True)
    (umd / "standalone.js").write_bytes(entry)
    for name in chunks or (CHUNK,):
        (umd / name).write_bytes(b"chunk " + name.encode())
    for name in ("index.js", "index.js.gz", "standalone.js.map", f"{CHUNK}.map", "notes.txt"):
        (umd / name).write_bytes(b"something else")
    (folder / "package.json").write_text('{"name": "@segment/analytics-next"}')
    return umd
