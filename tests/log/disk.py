"""A simulated disk: what a program sees (the page cache), and what a power loss would leave of it.

Until `sync`, what was written to a file may be lost, torn or kept in any part, later writes without earlier
ones; what a failed sync should have brought to the disk is never brought there by a later one, and may yet appear
(so it is with Linux' page cache). Names (created, renamed, removed) may be lost, each for itself, until
`sync_folder`; a failed one may be repeated, as file systems keep those in a journal.
"""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from pathlib import Path
from random import Random

KINDS = ("create", "write", "sync", "truncate", "overwrite", "rename", "remove", "sync_folder", "open_end")


class Op:
    """A change of a file; `sure` once it is on the disk."""

    def __init__(self, at: int, data: bytes | None) -> None:
        self.at = at
        self.data = data  # None: cut to `at`
        self.sure = False
        self.lost_track = False  # by a failed sync

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.at :]
        else:
            _put(content, self.at, self.data)

    def apply_torn(self, content: bytearray, random: Random) -> None:
        if self.data is None:
            if random.random() < 0.5:
                self.apply(content)
            return
        fate = random.random()
        if fate < 0.25:
            return
        if fate < 0.5:
            self.apply(content)
            return
        cuts = sorted({0, len(self.data), *(random.randrange(len(self.data) + 1) for _ in range(3))})
        for start, end in pairwise(cuts):
            if random.random() < 0.5:
                _put(content, self.at + start, self.data[start:end])
        if random.random() < 0.3:  # the new size without all of the data
            _put(content, max(len(content), self.at + len(self.data)), b"")


def _put(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at + len(data):
        content.extend(bytes(at + len(data) - len(content)))
    content[at : at + len(data)] = data


class Inode:
    def __init__(self) -> None:
        self.cache = bytearray()
        self.disk = bytearray()
        self.ops: list[Op] = []

    def change(self, op: Op) -> None:
        op.apply(self.cache)
        self.ops.append(op)

    def synced(self) -> None:
        for op in self.ops:
            op.sure = op.sure or not op.lost_track
        while self.ops and self.ops[0].sure:
            self.ops.pop(0).apply(self.disk)

    def sync_failed(self) -> None:
        for op in self.ops:
            op.lost_track = op.lost_track or not op.sure

    def power_loss(self, random: Random) -> None:
        for op in self.ops:
            if op.sure:
                op.apply(self.disk)
            else:
                op.apply_torn(self.disk, random)
        self.ops.clear()
        self.cache[:] = self.disk


class NameOp:
    def __init__(self, inode: Inode | None, new: Path | None, old: Path | None) -> None:
        self.inode = inode
        self.new = new
        self.old = old
        self.sure = False

    def apply(self, names: dict[Path, Inode]) -> None:
        if self.old is not None and (self.inode is None or names.get(self.old) is self.inode):
            names.pop(self.old, None)
        if self.new is not None and self.inode is not None:
            names[self.new] = self.inode


class Fault:
    """The next `times` operations of a kind (in a folder of that name) fail, after `skip` that do not."""

    def __init__(self, kind: str, skip: int, times: int, folder: str | None = None) -> None:
        self.kind = kind
        self.folder = folder
        self.skip = skip
        self.times = times

    def strikes(self, kind: str, path: Path) -> bool:
        if kind != self.kind or not self.times or self.folder not in (None, path.parent.name):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Disk:
    """A `Files` for the log, shared by the processes of one simulated machine."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)
        self.cached: dict[Path, Inode] = {}
        self.durable: dict[Path, Inode] = {}
        self.name_ops: list[NameOp] = []
        self.boot = 1
        self.process = 1
        self.faults: list[Fault] = []
        self.operations_left: int | None = None
        """After so many changes the process is dead: it changes nothing any more."""
        self.died = self.dying = False
        self.locked: set[Path] = set()
        self.history: list[str] = []

    # --- what happens to the machine ---

    @property
    def dead(self) -> bool:
        return self.operations_left is not None and self.operations_left <= 0

    def next_process(self) -> None:
        """The process is gone (killed, or ended), its locks with it; the page cache stays."""
        self.process += 1
        self.operations_left = None
        self.died = self.dying = False
        self.faults.clear()
        self.locked.clear()

    def reboot(self) -> None:
        """Power loss, and another start of the machine."""
        for op in self.name_ops:
            if op.sure or self.random.random() < 0.5:
                op.apply(self.durable)
        self.name_ops.clear()
        inodes = {id(inode): inode for inode in [*self.cached.values(), *self.durable.values()]}
        for inode in inodes.values():
            inode.power_loss(self.random)
        self.cached = dict(self.durable)
        self.boot += 1
        self.next_process()

    def changing(self, kind: str, path: Path) -> None:
        """Called before every change. Raises OSError where it fails."""
        if self.dead:
            self.dying = not self.died
            self.died = True
            raise OSError(errno.EIO, "the process is dead", str(path))
        if self.operations_left is not None:
            self.operations_left -= 1
        strikes = [fault.strikes(kind, path) for fault in self.faults]  # each of them counts down
        if any(strikes):
            self.history.append(f"FAILED {kind} {path.name}")
            code = errno.ENOSPC if kind in ("write", "create", "overwrite") else errno.EIO
            raise OSError(code, os.strerror(code), str(path))
        self.history.append(f"{kind} {path.name}")

    # --- Files ---

    def make_folder(self, path: Path) -> None:
        pass

    def names(self, folder: Path) -> list[str]:
        return [path.name for path in self.cached if path.parent == folder]

    def _name(self, op: NameOp) -> None:
        op.apply(self.cached)
        self.name_ops.append(op)

    def create(self, path: Path) -> SimulatedFile:
        self.changing("create", path)
        inode = self.cached.get(path)
        if inode is None:
            inode = Inode()
            self._name(NameOp(inode, path, None))
        elif inode.cache:
            inode.change(Op(0, None))
        return SimulatedFile(self, path, inode)

    def open_end(self, path: Path, size: int) -> SimulatedFile:
        self.changing("open_end", path)
        file = SimulatedFile(self, path, self.cached[path])
        if size != len(file.inode.cache):
            file.inode.change(Op(size, None))
        return file

    def open(self, path: Path) -> SimulatedFile:
        try:
            return SimulatedFile(self, path, self.cached[path])
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from None

    def read_all(self, path: Path) -> bytes | None:
        inode = self.cached.get(path)
        return None if inode is None else bytes(inode.cache)

    def overwrite(self, path: Path, data: bytes) -> None:
        self.changing("overwrite", path)
        inode = self.cached.get(path)
        if inode is None:
            inode = Inode()
            self._name(NameOp(inode, path, None))
        inode.change(Op(0, data))

    def rename(self, old: Path, new: Path) -> None:
        self.changing("rename", old)
        self._name(NameOp(self.cached[old], new, old))

    def remove(self, path: Path) -> None:
        if path in self.cached:
            self.changing("remove", path)
            self._name(NameOp(None, None, path))

    def sync_folder(self, path: Path) -> None:
        self.changing("sync_folder", path)
        for op in self.name_ops:
            op.sure = op.sure or path in {place.parent for place in (op.new, op.old) if place is not None}
        while self.name_ops and self.name_ops[0].sure:
            self.name_ops.pop(0).apply(self.durable)

    def mode(self, path: Path) -> int:
        return 0o600

    def make_private(self, path: Path) -> None:
        pass

    def boot_id(self) -> bytes:
        return self.boot.to_bytes(16, "big")

    def lock(self, path: Path) -> SimulatedFile | None:
        if path in self.locked:
            return None
        self.locked.add(path)
        return Lock(self, path, Inode())


class SimulatedFile:
    def __init__(self, disk: Disk, path: Path, inode: Inode) -> None:
        self.disk = disk
        self.path = path
        self.inode = inode
        self.process = disk.process

    def _changing(self, kind: str) -> None:
        if self.process != self.disk.process:
            raise OSError(errno.EIO, "a process that is gone writes", str(self.path))
        self.disk.changing(kind, self.path)

    def write(self, data: bytes) -> None:
        try:
            self._changing("write")
        except OSError as error:
            if error.errno == errno.ENOSPC or self.disk.dying:  # a part of it came through
                part = self.disk.random.randrange(len(data) + 1)
                self.inode.change(Op(len(self.inode.cache), data[:part]))
            raise
        self.inode.change(Op(len(self.inode.cache), data))

    def sync(self) -> None:
        try:
            self._changing("sync")
        except OSError:
            self.inode.sync_failed()
            raise
        self.inode.synced()

    def truncate(self, size: int) -> None:
        self._changing("truncate")
        self.inode.change(Op(size, None))

    def read(self, at: int, size: int) -> bytes:
        return bytes(self.inode.cache[at : at + size])

    def size(self) -> int:
        return len(self.inode.cache)

    def close(self) -> None:
        pass


class Lock(SimulatedFile):
    def _changing(self, kind: str) -> None:
        pass

    def close(self) -> None:
        if self.process == self.disk.process:
            self.disk.locked.discard(self.path)
