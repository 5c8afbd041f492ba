"""Which process listens on a TCP port: from /proc, as far as this user may see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LISTENING: Final = "0A"


def owner_of_port(port: int, proc: Path = Path("/proc")) -> str:
    """`nginx (process 812)`, or "" where that cannot be seen."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not wanted:
        return ""
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        if any(link in wanted for link in _links(folder / "fd")):
            try:
                name = (folder / "comm").read_text().strip()
            except OSError:
                name = "a program"
            return f"{name} (process {folder.name})"
    return ""


def _inodes(port: int, proc: Path) -> Iterator[str]:
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _links(folder: Path) -> Iterator[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(folder / name)  # noqa: PTH115 - the text, which is no path
        except OSError:
            continue
