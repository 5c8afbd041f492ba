"""The data folder: where it is, what lies where in it, that it is private, and the development daemon's write key.

log/received/  log/events/  log/discarded/     the streams
ids/received/ …                                where each messageId stands, made again where missing (cdpd/trace)
state.db                                       cursors of destinations, parked events, journal
functions.db                                   webhooks that wait for their function, and its errors
oauth.db                                       access tokens (hashed), where there are apps
key-use.json                                   when each write key was last used
control.sock                                   the control API; control-ROLES.sock, where there are several processes
lock                                           held by the daemon that runs here
plugins/NAME/                                  what a plugin instance keeps
imports/progress.db                            how far `cdpd import` is, written by the command itself
write_key                                      of a daemon without a configuration
backup.json, backup.lock                       of a backup (`cdpd backup`), which is a data folder itself
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DEFAULT: Final = "cdpd-data"
KEY_FILE: Final = "write_key"
SOCKET: Final = "control.sock"
CACHE_TAG: Final = "CACHEDIR.TAG"
"""A folder with this file (bford.info/cachedir) can be made again: backups leave it out."""
UNFINISHED_BACKUP: Final = "UNFINISHED-BACKUP"
"""Lies in a backup while it is written; no daemon starts on such a folder."""
STREAMS: Final = ("received", "events", "discarded")


def data_folder(
    given: Path | None, configured: str | None, beside: Path | None, environ: Mapping[str, str]
) -> Path:
    """`--data-dir`, else `[data] dir` (relative to its file), else $STATE_DIRECTORY, else ./cdpd-data."""
    if given is not None:
        return given
    if configured:
        return (beside or Path()) / Path(configured).expanduser()
    # systemd may name several, separated by colons; the first is StateDirectory='s first.
    state = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(state) if state else Path(DEFAULT)


def stream_folder(data_dir: Path, name: str) -> Path:
    """Where a stream of STREAMS lies."""
    return data_dir / "log" / name


def ids_folder(data_dir: Path, stream: str) -> Path:
    """Where the index by messageId of a stream of STREAMS lies."""
    return data_dir / "ids" / stream


def state_db(data_dir: Path) -> Path:
    """Where delivery keeps its cursors, parked events and journal (SQLite)."""
    return data_dir / "state.db"


def key_use_file(data_dir: Path) -> Path:
    """Where it is kept when each write key was last used (JSON)."""
    return data_dir / "key-use.json"


def oauth_db(data_dir: Path) -> Path:
    """Where access tokens are kept, hashed (SQLite)."""
    return data_dir / "oauth.db"


def functions_db(data_dir: Path) -> Path:
    """Where errors of source functions, and webhooks that wait for them, are kept (SQLite)."""
    return data_dir / "functions.db"


def plugin_folder(data_dir: Path, name: str) -> Path:
    """A plugin instance's own folder; in a folder of all of them, so that no name of theirs meets one of ours."""
    return data_dir / "plugins" / name


def imports_folder(data_dir: Path) -> Path:
    """Where `cdpd import` notes how far it is."""
    return data_dir / "imports"


def make_data_folder(folder: Path) -> None:
    """Make it and the folders in it (all 0700), with its parents, where missing. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for part in (folder, folder / "log", folder / "plugins"):
        part.mkdir(mode=0o700, exist_ok=True)


def development_key(folder: Path) -> str:
    """The write key of a daemon without a configuration: made once, kept (0600) in the data folder."""
    path = folder / KEY_FILE
    key = read_development_key(folder)
    if key is None:
        make_data_folder(folder)
        key = new_write_key("dev")
        temporary = path.with_name(f".{KEY_FILE}.{os.getpid()}")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(key + "\n")
        temporary.replace(path)
    return key


def read_development_key(folder: Path) -> str | None:
    """The key that `development_key` made, or None."""
    try:
        return (folder / KEY_FILE).read_text().strip() or None
    except FileNotFoundError:
        return None


def new_write_key(source: str) -> str:
    """A fresh write key that names its source; 128 random bits."""
    return f"wk_{source}_{secrets.token_hex(16)}"
