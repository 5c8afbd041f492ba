"""Backing up a data folder while its daemon runs: a copy that is of one moment, and is checked at the end.

In this order, so that nothing names what the copy does not have: what plugins and destinations keep (their positions
in `events`), `events` (which names positions in the others), `discarded`, `received`. A daemon on the copy goes on
from there: nothing that was acknowledged before the backup began is missing; destinations may get again what was
delivered after it began.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from cdpd.backup.files import copy_database, copy_whole, is_database, make_folder, sync_folder, write_file
from cdpd.backup.stream import Copied, copy_stream
from cdpd.config.data_folder import CACHE_TAG, KEY_FILE, UNFINISHED_BACKUP, imports_folder, stream_folder
from cdpd.log.agreement import disagreements, newest_cursor
from cdpd.log.errors import LogError
from cdpd.log.files import OsFiles
from cdpd.log.mark import read_mark
from cdpd.log.verify import Finding, verify

MANIFEST: Final = "backup.json"
_LOCK: Final = "backup.lock"
_FILES: Final = ("state.db", "oauth.db", "key-use.json", KEY_FILE)

Tell = Callable[[str, int], None]
"""What is being copied, and how many bytes were copied so far."""


class BackupError(Exception):
    """The backup was not made, or not to its end; the text says why."""


class Report(Struct):
    """What a backup did."""

    copied_bytes: int = 0
    streams: dict[str, Copied] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """Folders of plugins, relative to the data folder, that are made again from `events`."""
    findings: list[Finding] = field(default_factory=list)
    """What is wrong with the copy: as a rule with the original too."""


def backup(data_dir: Path, target: Path, *, now: str, tell: Tell, whole: bool = False) -> Report:
    """Copy the data folder to `target`, into what a backup before left there.

    `now`: the time, for the manifest. `whole`: check everything in the copy, not only what is new in it. Raises
    BackupError, LogError, OSError, sqlite3.Error; what is there then is marked as unfinished.
    """
    if not (data_dir / "log").is_dir():
        raise BackupError(f"nothing is stored in {data_dir} yet; is it the right folder (--data-dir)?")
    _check_target(data_dir, target)
    for folder in (target, target / "log"):
        make_folder(folder)
    with _alone(target):
        write_file(
            target / UNFINISHED_BACKUP, b"A backup is being written here, or was broken off. Run it again.\n"
        )
        sync_folder(target)
        report = Report()
        _copy_all(data_dir, target, report, tell)
        for name, copied in report.streams.items():
            tell(f"checking {name}", report.copied_bytes)
            report.findings += _check(stream_folder(target, name), copied, whole)
        folders = (stream_folder(target, name) for name in ("events", "received", "discarded"))
        report.findings += disagreements(OsFiles(), *folders)
        write_file(target / MANIFEST, _manifest(data_dir, now, report))
        (target / UNFINISHED_BACKUP).unlink()
        sync_folder(target)
    return report


def _check_target(data_dir: Path, target: Path) -> None:
    inside, outside = target.resolve(), data_dir.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise BackupError(
            f"{target} and the data folder {data_dir} are inside of one another: choose another folder"
        )
    if target.exists() and not target.is_dir():
        raise BackupError(f"{target} is no folder")
    if target.is_dir():
        names = {path.name for path in target.iterdir()}
        if names and not names & {MANIFEST, UNFINISHED_BACKUP}:
            raise BackupError(
                f"{target} holds something, but no backup: choose an empty folder, or a new one"
            )


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    fd = os.open(target / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup to {target} is under way") from None
        yield
    finally:
        os.close(fd)


def _copy_all(data_dir: Path, target: Path, report: Report, tell: Tell) -> None:
    what = ""

    def progress(size: int) -> None:
        report.copied_bytes += size
        tell(what, report.copied_bytes)

    for name in _FILES:
        what = name
        _file(data_dir / name, target / name, progress)
    imports = imports_folder(data_dir)
    if imports.is_dir():
        what = "imports"
        _tree(imports, target / imports.name, progress, [], data_dir)
    what = "plugins"
    if (data_dir / "plugins").is_dir():
        _tree(data_dir / "plugins", target / "plugins", progress, report.left_out, data_dir)
    what = "events"
    events = stream_folder(data_dir, what), stream_folder(target, what)
    report.streams[what] = copy_stream(*events, progress)
    mark = read_mark(OsFiles(), events[1])
    named = None if mark is None else newest_cursor(OsFiles(), events[1], mark)
    until = 0 if named is None else named[2].discarded
    for what, end in (("discarded", until), ("received", None)):
        report.streams[what] = copy_stream(
            stream_folder(data_dir, what), stream_folder(target, what), progress, end
        )


def _file(source: Path, target: Path, progress: Callable[[int], None]) -> None:
    """A file that may change or not be there; what the source has not, the copy has not."""
    if not source.is_file():
        target.unlink(missing_ok=True)
    elif is_database(source):
        copy_database(source, target, progress)
    else:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            copy_whole(fd, os.fstat(fd).st_size, target, progress)
        finally:
            os.close(fd)


def _tree(
    source: Path, target: Path, progress: Callable[[int], None], left_out: list[str], data_dir: Path
) -> None:
    """A folder with all in it. SQLite's own helpers are in the copy of the database; caches are left out."""
    make_folder(target)
    if (source / CACHE_TAG).is_file():
        left_out.append(str(source.relative_to(data_dir)))
        return
    wanted: set[str] = set()
    for path in sorted(source.iterdir()):
        if path.is_symlink() or path.name.endswith((".new", "-wal", "-shm", "-journal")):
            continue
        try:
            if path.is_dir():
                _tree(path, target / path.name, progress, left_out, data_dir)
            elif path.is_file():
                _file(path, target / path.name, progress)
            else:
                continue  # a socket
        except FileNotFoundError:
            continue  # it went meanwhile
        wanted.add(path.name)
    for path in target.iterdir():
        if path.name not in wanted and path.is_file():
            path.unlink()


def _check(folder: Path, copied: Copied, whole: bool) -> Iterator[Finding]:
    ranges = [(base, base + 1) for base in copied.changed]
    for first, last in [(0, None)] if whole else ranges:
        yield from (finding for finding in verify(OsFiles(), folder, first, last) if finding.kind == "damage")


def _manifest(data_dir: Path, now: str, report: Report) -> bytes:
    content: dict[str, Any] = {
        "backup_of": str(data_dir.resolve()),
        "at": now,
        "streams": {
            name: {"begin": copied.begin, "end": copied.end} for name, copied in report.streams.items()
        },
        "left_out": report.left_out,
        "damaged": [str(finding) for finding in report.findings],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


FORESEEN: Final = (BackupError, LogError, OSError, sqlite3.Error)
"""What keeps a backup from being made, and needs no traceback."""
