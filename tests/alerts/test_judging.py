"""When an alert fires and when it is over."""

from __future__ import annotations

from cdpd.alerts.judging import AlertState, judged

FRESH = AlertState(watched_ms=0)


def run(*steps: tuple[float, bool | None], hold: float = 0, resolve: float = 60) -> list[str]:
    """(seconds, whether it holds) → the turns, as `seconds turn`."""
    state, turns = FRESH, []
    for seconds, holds in steps:
        state, turn = judged(state, holds, round(seconds * 1000), hold=hold, resolve=resolve)
        if turn is not None:
            turns.append(f"{seconds:g} {turn}")
    return turns


def test_it_fires_once_while_it_holds_and_is_over_once() -> None:
    assert run((0, False), (10, True), (20, True), (30, False), (89, False), (90, False), (100, False)) == [
        "10 fired",
        "90 resolved",
    ]


def test_it_fires_again_after_it_was_over() -> None:
    assert run((0, True), (10, False), (70, False), (80, True)) == ["0 fired", "70 resolved", "80 fired"]


def test_what_holds_too_shortly_is_not_told() -> None:
    assert run((0, True), (20, False), (30, True), (59, True), hold=30) == []
    assert run((0, True), (20, False), (30, True), (60, True), hold=30) == ["60 fired"]


def test_it_is_not_over_while_it_comes_back() -> None:
    assert run((0, True), (10, False), (60, True), (70, False), (120, False)) == ["0 fired"]


def test_without_a_wait_it_is_over_at_once() -> None:
    assert run((0, True), (10, False), resolve=0) == ["0 fired", "10 resolved"]


def test_what_cannot_be_known_changes_nothing() -> None:
    assert run((0, True), (10, None), (500, None)) == ["0 fired"]
    assert run((0, True), (10, False), (20, None), (70, False)) == ["0 fired", "70 resolved"]
    assert run((0, None), (10, None)) == []


def test_a_clock_that_goes_back_neither_fires_nor_resolves_early() -> None:
    assert run((100, True), (50, True), (79, True), hold=30) == []
    assert run((100, True), (110, False), (50, False), (109, False)) == ["100 fired"]
