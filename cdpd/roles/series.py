"""Metrics of several processes as those of one daemon."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cdpd import metrics as names
from cdpd.metrics import FAMILIES, Series

_SUPERVISORS = frozenset({names.READY, names.BUILD, names.RELOADS, names.RELOAD_OK, names.RELOAD_TIME})
"""Of the daemon as a whole: what a part of it says of them does not count."""


def encoded(series: Iterable[Series]) -> dict[str, Any]:
    """As it goes over a control socket."""
    return {"series": [[one.family.name, one.labels, one.value, one.counts] for one in series]}


def decoded(answer: Mapping[str, Any]) -> list[Series]:
    """What `encoded` wrote; families that are not known here are left out."""
    return [
        Series(FAMILIES[name], tuple(labels), value, tuple(counts))
        for name, labels, value, counts in answer["series"]
        if name in FAMILIES
    ]


def merged(own: Iterable[Series], parts: Iterable[Series]) -> list[Series]:
    """The supervisor's own and its processes': counts of the same are added up, of other values the largest stays."""
    found = {(one.family, one.labels): one for one in own}
    for one in parts:
        if one.family in _SUPERVISORS:
            continue
        before = found.get((one.family, one.labels))
        found[one.family, one.labels] = one if before is None else _together(before, one)
    return list(found.values())


def of_process(name: str, runs: bool, starts: int, pid: int | None) -> list[Series]:
    """What its supervisor knows of a process, and the system (Linux's /proc; for a thread)."""
    found = [Series(names.PROCESS_UP, (name,), runs), Series(names.PROCESS_STARTS, (name,), starts)]
    try:
        # After the command's name: the state is the first field, user and system time 12th and 13th, memory 22nd.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return found
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    found.append(Series(names.PROCESS_CPU, (name,), ticks / os.sysconf("SC_CLK_TCK")))
    found.append(Series(names.PROCESS_MEMORY, (name,), pages * os.sysconf("SC_PAGE_SIZE")))
    return found


def _together(one: Series, other: Series) -> Series:
    if one.family.kind == "gauge":
        return one if one.value >= other.value else other
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return Series(one.family, one.labels, one.value + other.value, counts)
