"""A machine that answers as a test wants, and is well where the test says nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cdpd.doctor.finding import Finding
from cdpd.doctor.machine import Machine, Memory, Mount, Space

GIB = 1024**3
NOW_MS = 1_769_860_800_000
"""2026-01-31T12:00:00Z"""


class FakeMachine(Machine):
    """Attributes are the answers."""

    def __init__(self, **answers: Any) -> None:
        self.now = NOW_MS
        self.uid = os.geteuid()
        self.writable: bool | OSError = True
        self.on: Mount | None = Mount("ext4", "/", frozenset({"rw"}))
        self.room = Space(100 * GIB, 200 * GIB, 1_000_000)
        self.sync_seconds: list[float] | OSError = [0.001] * 99 + [0.004]
        self.synchronised: bool | None = True
        self.files_limit = 500_000
        self.files_open: int | OSError = 100
        self.ram: Memory | None = Memory(8 * GIB, 4 * GIB)
        self.needs = ["msgspec>=0.19", "uvloop>=0.21; sys_platform != 'win32'", 'obstore>=1; extra == "test"']
        self.installed: dict[str, str | None] = {
            "cdpd-daemon": "0.1.0",
            "msgspec": "0.20.0",
            "uvloop": "0.22.1",
            "zstandard": "0.23.0",
        }
        for name, answer in answers.items():
            assert hasattr(self, name), name
            setattr(self, name, answer)

    def now_ms(self) -> int:
        return self.now

    def user(self) -> int:
        return self.uid

    def may_write(self, folder: Path) -> bool:
        return self.writable is True

    def write(self, folder: Path) -> None:
        if isinstance(self.writable, OSError):
            raise self.writable

    def mount(self, path: Path) -> Mount | None:
        return self.on

    def space(self, path: Path) -> Space:
        return self.room

    def syncs(self, folder: Path) -> list[float]:
        if isinstance(self.sync_seconds, OSError):
            raise self.sync_seconds
        return self.sync_seconds

    def clock_is_synchronised(self) -> bool | None:
        return self.synchronised

    def open_files_limit(self, pid: int | None = None) -> int:
        return self.files_limit

    def open_files(self, pid: int) -> int:
        if isinstance(self.files_open, OSError):
            raise self.files_open
        return self.files_open

    def memory(self) -> Memory | None:
        return self.ram

    def requirements(self) -> list[str]:
        return self.needs

    def version(self, distribution: str) -> str | None:
        return self.installed.get(distribution)


def told(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """(check, state, text); and every finding that is not ok says what to do."""
    found = list(findings)
    assert all(bool(finding.todo) == (finding.state != "ok") for finding in found)
    return [(finding.check, finding.state, finding.text) for finding in found]


def only(findings: Iterable[Finding]) -> Finding:
    """The one finding."""
    found = list(findings)
    told(found)
    (one,) = found
    return one
