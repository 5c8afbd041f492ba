"""The benchmark of mappings runs and prints figures; nothing is said here about how large these are."""

from __future__ import annotations

from tests.bench.mapping import measure


def test_it_measures_filters_mappings_and_checks() -> None:
    figures = measure(count=50, times=1)
    assert [figure.goal for figure in figures if figure.goal] == ["≥ 400,000", "≥ 60,000"]
    assert all(figure.median > 0 for figure in figures)
