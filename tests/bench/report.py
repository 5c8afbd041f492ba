"""Figures: a table for people and JSON for machines, each beside its baseline of the same run and its goal."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct


class Figure(Struct, frozen=True):
    """One thing that was measured, in each round."""

    name: str
    unit: str
    values: list[float]
    ratios: list[float] = []
    """To the baseline of the same round."""
    goal: str = ""
    """What issue C asks for."""
    met: bool | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None


def figure(
    name: str,
    unit: str,
    values: Sequence[float],
    baseline: Sequence[float] = (),
    goal: str = "",
    met: Callable[[Figure], bool] | None = None,
) -> Figure:
    """A figure of these rounds; `met` says of it whether the goal is reached."""
    ratios = [value / base for value, base in zip(values, baseline, strict=False) if base]
    found = Figure(name, unit, list(values), ratios, goal)
    return found if met is None else msgspec.structs.replace(found, met=met(found))


def show(figures: Sequence[Figure]) -> None:
    """The table on stdout; with `--json` in the command line one JSON object a line instead."""
    if "--json" in sys.argv:
        for one in figures:
            print(json.dumps(_document(one)))
        return
    width = max(len(one.name) for one in figures) if figures else 0
    print(f"{'':{width}}  {'median':>12} {'min':>12} {'max':>12} {'of bare':>8}  goal")
    for one in figures:
        numbers = [
            f"{number:>12,.{_places(number)}f}" for number in (one.median, min(one.values), max(one.values))
        ]
        ratio = "" if one.ratio is None else f"{one.ratio:.3f}"
        verdict = "" if one.met is None else "met: " if one.met else "NOT MET: "
        print(
            f"{one.name:{width}}  {' '.join(numbers)} {ratio:>8}  {one.unit}; {verdict}{one.goal}".rstrip(
                "; "
            )
        )


def rounds() -> int:
    """How often each figure is measured: `--rounds N`, else 3, and 1 with `--short`."""
    if "--rounds" in sys.argv:
        return int(sys.argv[sys.argv.index("--rounds") + 1])
    return 1 if is_short() else 3


def is_short() -> bool:
    """`--short`: everything once and small, to see that it works."""
    return "--short" in sys.argv


def _places(number: float) -> int:
    return 0 if abs(number) >= 100 else 2 if abs(number) >= 1 else 4


def _document(one: Figure) -> dict[str, Any]:
    return {
        "name": one.name,
        "unit": one.unit,
        "median": one.median,
        "min": min(one.values),
        "max": max(one.values),
        "of_bare": one.ratio,
        "goal": one.goal or None,
        "met": one.met,
    }
