"""What is asked of the machine: one method a question, so that tests can answer instead. Linux's answers are known."""

from __future__ import annotations

import ctypes
import os
import resource
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Final

from msgspec import Struct

SYNCED_BYTES: Final = 64 * 1024
_SYNCS: Final = 100
_SECONDS: Final = 2.0
"""Syncs are measured for so long at most: a slow disk has told enough by then."""
_CLOCK_ERROR: Final = 5  # TIME_ERROR of adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 512  # more than struct timex has on any platform


class Mount(Struct, frozen=True):
    """The filesystem that a path lies on."""

    kind: str
    """`ext4`, `nfs4` …"""
    point: str
    options: frozenset[str]


class Space(Struct, frozen=True):
    """Of a filesystem, in bytes, for somebody who is not root."""

    free: int
    total: int
    free_files: int | None
    """Inodes; None where the filesystem has no bound."""


class Memory(Struct, frozen=True):
    """In bytes."""

    total: int
    available: int
    limit: int | None = None
    """Of this control group (MemoryMax=, a container's bound)."""


class Machine:
    """The machine that this runs on. Methods raise OSError where the system refuses."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def user(self) -> int:
        return os.geteuid()

    def may_write(self, folder: Path) -> bool:
        return os.access(folder, os.W_OK | os.X_OK)

    def write(self, folder: Path) -> None:
        """Make a file without a name in the folder."""
        with tempfile.TemporaryFile(dir=folder):
            pass

    def mount(self, path: Path) -> Mount | None:
        """None where the system does not say (/proc is missing)."""
        try:
            text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
        return mount_of(str(path.resolve()), text)

    def space(self, path: Path) -> Space:
        found = os.statvfs(path)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail or None)

    def syncs(self, folder: Path) -> list[float]:
        """Seconds of each of up to 100 syncs of 64 KiB that were appended to a file in the folder."""
        seconds: list[float] = []
        block = os.urandom(SYNCED_BYTES)
        end = time.monotonic() + _SECONDS
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            while len(seconds) < _SYNCS and time.monotonic() < end:
                file.write(block)
                began = time.perf_counter()
                _sync(file.fileno())
                seconds.append(time.perf_counter() - began)
        return seconds

    def clock_is_synchronised(self) -> bool | None:
        """Whether something keeps the clock right; None where the system does not say."""
        try:
            adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        except (OSError, AttributeError):
            return None
        state = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))  # modes 0: it only tells
        return None if state < 0 else bool(state != _CLOCK_ERROR)

    def open_files_limit(self, pid: int | None = None) -> int:
        """How many files a process may have open, once it has asked for all that it may."""
        limits = (
            resource.getrlimit(resource.RLIMIT_NOFILE)
            if pid is None
            else resource.prlimit(pid, resource.RLIMIT_NOFILE)
        )
        return 2**63 - 1 if limits[1] == resource.RLIM_INFINITY else limits[1]

    def open_files(self, pid: int) -> int:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - /proc is no folder of files

    def memory(self) -> Memory | None:
        """None where the system does not say."""
        try:
            text = Path("/proc/meminfo").read_text()
        except OSError:
            return None
        sizes = {line.partition(":")[0]: line.split()[1] for line in text.splitlines()}
        total, available = (int(sizes.get(name, 0)) * 1024 for name in ("MemTotal", "MemAvailable"))
        return Memory(total, available, _group_limit())

    def requirements(self) -> list[str]:
        """What our own package needs, as its metadata says (PEP 508)."""
        return metadata.requires("cdpd-daemon") or []

    def version(self, distribution: str) -> str | None:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return None


def _sync(descriptor: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def mount_of(path: str, mountinfo: str) -> Mount | None:
    """The mount that an absolute path lies on, from the text of /proc/self/mountinfo (proc(5))."""
    best: Mount | None = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(kind) < 3:
            continue
        point = fields[4].encode().decode("unicode_escape") if "\\" in fields[4] else fields[4]
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and (best is None or len(point) >= len(best.point)):  # a later mount covers an earlier one
            best = Mount(kind[0], point, frozenset(fields[5].split(",")) | frozenset(kind[2].split(",")))
    return best


def _group_limit() -> int | None:
    """The smallest memory.max of this process's control group and those around it (version 2)."""
    try:
        own = Path("/proc/self/cgroup").read_text()
    except OSError:
        return None
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), None)
    if path is None:
        return None
    limits = []
    folder = Path("/sys/fs/cgroup") / path.lstrip("/")
    while folder.is_relative_to("/sys/fs/cgroup"):
        try:
            text = (folder / "memory.max").read_text().strip()
        except OSError:
            text = "max"
        if text.isdecimal():
            limits.append(int(text))
        folder = folder.parent
    return min(limits, default=None)
