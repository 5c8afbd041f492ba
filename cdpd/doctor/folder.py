"""The data folder: is it ours, private and writable, on what filesystem, how fast, and how long will it last?"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import statistics
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from cdpd.cli.output import plural
from cdpd.doctor.finding import Finding, ok, problem, warning
from cdpd.doctor.machine import SYNCED_BYTES, Machine

NETWORK: Final = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "lustre", "ocfs2", "gfs2", "beegfs",
     "fuse.sshfs", "fuse.s3fs", "fuse.glusterfs", "fuse.rclone", "fuse.gcsfuse", "virtiofs")
)  # fmt: skip
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "zram"})
LAYERED: Final = frozenset({"overlay", "aufs"})
SLOW_SYNC: Final = 0.02
"""Seconds: the median from which on a disk is called slow …"""
VERY_SLOW_SYNC: Final = 0.25
STALLED_SYNC: Final = 0.5
"""… and the slowest of a hundred."""
_CONNECTIONS: Final = 64
_NO_LIMIT: Final = 20_000
"""Single events a second that no CPU core answers, whatever the disk does."""
_LOOKED_AT: Final = 5000
"""Files whose rights are looked at."""


_WRITABLE: Final = {
    errno.EROFS: "mount it for writing",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or raise the quota",
    errno.EACCES: "chmod u+rwx it, as its owner",
}
"""What to do where no file can be made."""


def nearest_folder(path: Path) -> Path:
    """The folder itself, or the nearest around it that is there."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def check_folder(folder: Path, machine: Machine) -> Iterator[Finding]:
    """Rights and owner, of the folder and of what is in it."""
    check = "data folder"
    if not folder.exists():
        above = nearest_folder(folder)
        if above.is_dir() and machine.may_write(above):
            yield ok(check, f"{folder} is not there yet: `cdpd run` makes it")
        else:
            yield problem(
                check,
                f"{folder} is not there, and {above} cannot be written to",
                "make it for the daemon's user, or name another with --data-dir",
            )
        return
    if not folder.is_dir():
        yield problem(check, f"{folder} is no folder", "name another with --data-dir")
        return
    inside = _inside(folder)
    wrong = [*ownership(folder, inside, machine), *_rights(folder, inside)]
    yield from wrong
    if any(finding.state == "problem" for finding in wrong):
        return
    try:
        machine.write(folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        todo = _WRITABLE.get(error.errno or 0, "look at its disk: `dmesg` tells more")
        yield problem(check, f"{folder} cannot be written to: {reason}", todo)
        return
    if not wrong:
        yield ok(check, f"{folder} is {_user(folder.stat().st_uid)}'s, and private")


def ownership(folder: Path, inside: Mapping[Path, os.stat_result], machine: Machine) -> Iterator[Finding]:
    owner = folder.stat().st_uid
    if machine.user() not in (0, owner):
        who = _user(owner)
        yield problem(
            "data folder",
            f"{folder} belongs to {who}, and this is {_user(machine.user())}",
            f"run cdpd as {who}, or `chown -R {_user(machine.user())} {folder}`",
        )
    strange = [(path, about.st_uid) for path, about in inside.items() if about.st_uid != owner]
    if strange:
        path, uid = strange[0]
        yield problem(
            "data folder",
            f"{path} belongs to {_user(uid)}, the folder to {_user(owner)} "
            f"({plural(len(strange), 'such file')}): was the daemon once run as another user?",
            f"chown -R {_user(owner)} {folder}",
        )


def _rights(folder: Path, inside: Mapping[Path, os.stat_result]) -> Iterator[Finding]:
    """What is in a folder that is private is private, whatever its own rights are."""
    if not folder.stat().st_mode & 0o077:
        return
    others = sum(1 for about in inside.values() if about.st_mode & 0o077)
    within = f", and {plural(others, 'file')} in it" if others else ""
    yield warning(
        "data folder", f"other users can look into {folder}{within}: people's data", f"chmod -R go= {folder}"
    )


def _inside(folder: Path) -> dict[Path, os.stat_result]:
    """What is in it; what goes while we look is left out."""
    found: dict[Path, os.stat_result] = {}
    for path in islice(folder.rglob("*"), _LOOKED_AT):
        try:
            about = path.lstat()
        except OSError:
            continue
        if not stat.S_ISLNK(about.st_mode):
            found[path] = about
    return found


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def check_filesystem(folder: Path, machine: Machine) -> Iterator[Finding]:
    check = "filesystem"
    mount = machine.mount(nearest_folder(folder))
    if mount is None:
        return
    where = f"{mount.kind} at {mount.point}"
    if "ro" in mount.options:
        yield problem(check, f"{where} is mounted for reading only", f"mount -o remount,rw {mount.point}")
    elif mount.kind in NETWORK:
        yield warning(
            check,
            f"{where} is a network's: whether a sync is durable is up to its server, and it may stall",
            "keep the data folder on a disk of this machine",
            kind=mount.kind,
        )
    elif mount.kind in IN_MEMORY:
        yield warning(
            check,
            f"{where} is in memory: everything is lost with the next restart of the machine",
            "keep the data folder on a disk",
            kind=mount.kind,
        )
    elif mount.kind in LAYERED:
        yield warning(
            check,
            f"{where} is a container's own layer: everything is lost with the container",
            "mount a volume there",
            kind=mount.kind,
        )
    else:
        yield ok(check, where, kind=mount.kind)


def check_syncs(folder: Path, machine: Machine) -> Iterator[Finding]:
    """How fast the disk makes things durable: every answer waits for one sync, and all that wait share it."""
    check = "disk sync"
    where = nearest_folder(folder)
    try:
        seconds = sorted(machine.syncs(where))
    except OSError as error:
        yield problem(
            check,
            f"nothing could be written and synced in {where}: {(error.strerror or str(error)).lower()}",
            "make the folder writable, or make room",
        )
        return
    median = statistics.median(seconds)
    p99 = seconds[min(round(len(seconds) * 0.99), len(seconds) - 1)]
    rate = 1 / max(median, 1e-6)
    together = rate * _CONNECTIONS
    side_by_side = (
        f"{_rounded(together)} from {_CONNECTIONS} side by side"
        if together < _NO_LIMIT
        else "and clients side by side share a sync, so that it is not the disk that limits them"
    )
    text = (
        f"{SYNCED_BYTES // 1024} KiB in {_ms(median)} (median), {_ms(p99)} (99 %): about {_rounded(rate)} events/s "
        f"from a client that waits for each answer, {side_by_side}"
    )
    facts = {"median_ms": round(median * 1000, 3), "p99_ms": round(p99 * 1000, 3), "syncs": len(seconds)}
    todo = "a disk of its own, an SSD, or a controller with a battery; is something else writing much?"
    if median >= VERY_SLOW_SYNC:
        yield problem(check, text, todo, **facts)
    elif median >= SLOW_SYNC or p99 >= STALLED_SYNC:
        yield warning(check, text, todo, **facts)
    else:
        yield ok(check, text, **facts)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2g} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def _rounded(rate: float) -> str:
    """Two digits that mean something."""
    digits = len(str(int(rate))) - 2
    return f"{round(rate, -digits) if digits > 0 else round(rate):,.0f}"
