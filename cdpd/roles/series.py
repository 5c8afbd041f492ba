"""Metrics of several processes as those of one daemon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def _together(one: Series, other: Series) -> Series:
    if one.family.kind == "gauge":
        return one if one.value >= other.value else other
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return Series(one.family, one.labels, one.value + other.value, counts)
