"""The machine under a daemon, made to fail: machine.c preloaded into it, and file systems of its own.

A `Page` is shared with the daemon's processes, so faults begin and end while they run.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("machine.c")
KINDS: Final = {"write": 1, "sync": 2, "create": 4, "rename": 8, "truncate": 16, "remove": 32}
CHANGES: Final = tuple(KINDS)
"""Every call that changes a file."""
_SHUTDOWN: Final = 0x8004587D
"""EXT4_IOC_SHUTDOWN …"""
_LOSE_EVERYTHING: Final = (2).to_bytes(4, sys.byteorder)
"""… without writing anything more, not even the file system's own journal."""


class _Layout(ctypes.Structure):
    """`struct page` of machine.c."""

    _fields_ = (
        ("clock_ms", ctypes.c_int64),
        ("kinds", ctypes.c_uint32),
        ("error", ctypes.c_int32),
        ("each", ctypes.c_uint32),
        ("partly", ctypes.c_uint32),
        ("counted", ctypes.c_uint64),
        ("failed", ctypes.c_uint64),
        ("no_names", ctypes.c_uint32),
        ("lies", ctypes.c_uint32),
        ("path", ctypes.c_char * 256),
        ("boot_id", ctypes.c_char * 64),
    )


class Page:
    """What the machine does; read by the daemon at every call."""

    def __init__(self, library: Path, path: Path) -> None:
        self._path = path
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._page = _Layout.from_buffer(self._map)
        self.environ: Mapping[str, str] = {"LD_PRELOAD": str(library), "CDPD_FAULTS_PAGE": str(path)}
        """What a daemon needs to be on this machine."""

    def fail(self, *kinds: str, error: int, path: str, each: int = 1, partly: bool = False) -> None:
        """From now on these calls fail: every `each`-th on files whose path has `path` in it."""
        page = self._page
        page.kinds = 0
        page.error, page.each, page.partly, page.path = error, each, partly, os.fsencode(path)
        page.kinds = functools.reduce(int.__or__, (KINDS[kind] for kind in kinds))

    def mend(self) -> None:
        """Nothing fails any more."""
        self._page.kinds = 0

    def lie(self) -> None:
        """From now on syncs do nothing, and say that they have worked."""
        self._page.lies = 1

    @property
    def failed(self) -> int:
        """How many calls failed so far."""
        return int(self._page.failed)

    def set_clock(self, off_seconds: float) -> None:
        """The wall clock is wrong by so much, forward or back."""
        self._page.clock_ms = round(off_seconds * 1000)

    def resolve_names(self, can: bool) -> None:
        """Whether host names below `.test` are found."""
        self._page.no_names = not can

    def new_boot(self) -> None:
        """Processes that start from now on find that the machine was started anew."""
        name = str(uuid.uuid4())
        self._path.with_name(self._path.name + ".boot_id").write_text(name + "\n")
        self._page.boot_id = name.encode()


@contextmanager
def library() -> Iterator[Path]:
    """machine.c, built. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="cdpd-faults-") as folder:
        built = Path(folder) / "machine.so"
        command = ["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", str(built), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        yield built


def lacks_preload() -> str | None:
    """Why no machine can be made to fail here."""
    if sys.platform != "linux":
        return "Linux"
    return None if shutil.which("cc") else "a C compiler (apt-get install gcc libc6-dev)"


# -- file systems ------------------------------------------------------------------------------------------


NO_ROOT: Final = "root, to mount file systems"
NO_MOUNTS: Final = "the right to mount file systems (a container has none by default)"
NO_LOOPS: Final = "loop devices and ext4, to lose power on"
RIGHTS: Final = frozenset((NO_ROOT, NO_MOUNTS, NO_LOOPS))
"""What a machine gives or does not: nothing that could be installed."""


@functools.cache
def lacks_mounts() -> str | None:
    """Why no file system can be mounted here."""
    if os.geteuid():
        return NO_ROOT
    with tempfile.TemporaryDirectory(prefix="cdpd-faults-") as folder:
        try:
            with tmpfs(Path(folder) / "probe", 1):
                pass
        except (OSError, subprocess.CalledProcessError):
            return NO_MOUNTS
    return None


@functools.cache
def lacks_power_loss() -> str | None:
    """Why no power loss can be had here."""
    if (missing := lacks_mounts()) is not None:
        return missing
    if shutil.which("mkfs.ext4") is None:
        return "mkfs.ext4 (apt-get install e2fsprogs)"
    with tempfile.TemporaryDirectory(prefix="cdpd-faults-") as folder:
        try:
            with BlockDisk(Path(folder), Path(folder) / "probe", 16) as disk:
                disk.lose_power()
        except (OSError, subprocess.CalledProcessError):
            return NO_LOOPS
    return None


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)


@contextmanager
def tmpfs(place: Path, mib: float) -> Iterator[Path]:
    """A file system in memory of so many MiB, mounted inside the `with`."""
    place.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={round(mib * 1024)}k,mode=0700", "cdpd-faults", place)
    try:
        yield place
    finally:
        _run("umount", "--lazy", place)


def resize_tmpfs(place: Path, mib: float) -> None:
    """Another size for a tmpfs that is mounted."""
    _run("mount", "-o", f"remount,size={round(mib * 1024)}k", place)


def set_read_only(place: Path, read_only: bool) -> None:
    """Whether anybody may change a mounted file system; nothing may be open for writing on it."""
    _run("mount", "-o", "remount,ro" if read_only else "remount,rw", place)


class BlockDisk:
    """An ext4 file system on blocks of its own, whose power can be lost: what was not synced is gone.

    The kernel itself stops the file system (as `godown` of xfstests does): nothing more reaches the blocks. When it is
    mounted again, ext4 recovers as after a real power loss.
    """

    def __init__(self, folder: Path, place: Path, mib: int = 64) -> None:
        self._image = folder / "disk.img"
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(mib * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-F", "-O", "^metadata_csum_seed", self._image)

    def __enter__(self) -> BlockDisk:
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", self.place)

    def _mount(self) -> None:
        _run("mount", "-o", "loop,nodiscard", self._image, self.place)
        self.place.chmod(0o700)

    def lose_power(self) -> None:
        """At once; every later call on its files fails, until it is mounted again."""
        fd = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _LOSE_EVERYTHING)
        finally:
            os.close(fd)

    def power_on(self) -> None:
        """Mount it again; nobody may have it open any more. What ext4 has to recover, it recovers."""
        _run("umount", self.place)
        self._mount()


ERRORS: Final = (errno.EIO, errno.ENOSPC)
