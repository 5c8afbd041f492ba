"""The machine: clock, limits, memory, versions."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from typing import Final

from cdpd.cli.output import size_text
from cdpd.doctor.finding import Finding, ok, problem, warning
from cdpd.doctor.machine import Machine

FEW_FILES: Final = 1024
ENOUGH_FILES: Final = 8192
_NO_LIMIT: Final = 2**31
LEAST_MEMORY: Final = 256 * 1024 * 1024
"""Bytes that a daemon needs besides the bodies in flight: 200 MB are its goal under load."""
LEAST_AVAILABLE: Final = 64 * 1024 * 1024
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:>=\s*([0-9.]+))?[^;]*(;.*)?")
_NUMBERS: Final = re.compile(r"\d+")


def check_clock(machine: Machine) -> Iterator[Finding]:
    match machine.clock_is_synchronised():
        case True:
            yield ok("clock", "it is kept right (synchronised)")
        case False:
            yield warning(
                "clock",
                "nothing keeps it right: times of events and retention go by it",
                "`timedatectl set-ntp true`, or install chrony",
            )
        case None:
            yield ok("clock", "this system does not say whether it is synchronised")


def check_open_files(machine: Machine) -> Iterator[Finding]:
    limit = machine.open_files_limit()
    todo = "raise it: LimitNOFILE=65536 in the unit, `ulimit -Hn` in a shell"
    text = f"{limit:,} may be open; each connection is one"
    if limit >= _NO_LIMIT:
        yield ok("open files", "there is no limit")
    elif limit < FEW_FILES:
        yield problem("open files", text, todo, limit=limit)
    elif limit < ENOUGH_FILES:
        yield warning("open files", text, todo, limit=limit)
    else:
        yield ok("open files", text, limit=limit)


def check_memory(machine: Machine, in_flight: int) -> Iterator[Finding]:
    """`in_flight`: bytes of bodies that may be in memory (`max_in_flight_bytes` of [http])."""
    memory = machine.memory()
    if memory is None:
        return
    bound = min(memory.total, memory.limit or memory.total)
    whose = "this control group's limit" if memory.limit and memory.limit < memory.total else "this machine"
    text = f"{size_text(bound)} ({whose}), {size_text(memory.available)} of the machine's available"
    facts = {"bytes": bound, "available_bytes": memory.available}
    if bound < LEAST_MEMORY:
        yield problem(
            "memory", text, f"give it {size_text(LEAST_MEMORY)} at least (MemoryMax= in the unit)", **facts
        )
    elif bound < LEAST_MEMORY + in_flight:
        yield warning(
            "memory",
            f"{text}; {size_text(in_flight)} of it may be taken by bodies in flight",
            "lower max_in_flight_bytes of [http], or give it more",
            **facts,
        )
    elif memory.available < LEAST_AVAILABLE:
        yield warning("memory", text, "find out what takes it (`ps aux --sort -rss`)", **facts)
    else:
        yield ok("memory", text, **facts)


def check_versions(machine: Machine) -> Iterator[Finding]:
    """Are the packages there that ours needs, in versions that it knows?"""
    wrong: list[str] = []
    slow: list[str] = []
    for requirement in machine.requirements():
        match = _REQUIREMENT.match(requirement)
        if match is None or "extra ==" in (match[3] or ""):
            continue
        name, least = match[1], match[2]
        found = machine.version(name)
        if found is None:
            (slow if name == "uvloop" else wrong).append(name)
        elif least is not None and _numbers(found) < _numbers(least):
            wrong.append(f"{name} {found} (at least {least} is needed)")
    ours, uvloop, zstd = (machine.version(name) for name in ("cdpd-daemon", "uvloop", "zstandard"))
    facts = {"cdpd": ours, "python": platform.python_version(), "uvloop": uvloop, "zstandard": zstd}
    if wrong:
        yield problem(
            "versions",
            f"missing or too old: {', '.join(wrong)}",
            "install them: pip install --upgrade cdpd-daemon, in one go with the plugins",
            **facts,
        )
    elif slow:
        yield warning(
            "versions",
            "uvloop is not installed: the daemon works, and is slower",
            "pip install uvloop (it comes with cdpd-daemon on CPython)",
            **facts,
        )
    else:
        text = f"cdpd {ours}, Python {facts['python']}, uvloop {uvloop}, zstandard {zstd}"
        yield ok("versions", text, **facts)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBERS.findall(version.partition("+")[0]))
