"""What the log says over and over is written a few times a minute, and then counted."""

from __future__ import annotations

import io
import json
from typing import Any

import anyio
import structlog

from cdpd.config.model import LoggingConfig
from cdpd.logs import Threshold, make_log
from cdpd.repeats import KINDS, MOST, SWEEP, WITHIN, Repeats, tell_repeats
from tests.clock import FakeClock


class Log:
    """A log with its repeats, on a clock in hand."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.repeats = Repeats(self.clock.monotonic)
        self._file = io.StringIO()
        self.log = make_log(LoggingConfig(format="json"), self._file, Threshold("info"), self.repeats)

    def lines(self) -> list[dict[str, Any]]:
        """What was written since the last time."""
        found = [json.loads(line) for line in self._file.getvalue().splitlines()]
        self._file.seek(0)
        self._file.truncate()
        return found


def test_the_same_is_written_so_often_a_minute_and_then_told_how_often_it_came() -> None:
    told = Log()
    for i in range(MOST + 7):
        told.log.warning("it rains", plugin="weather", drops=i)
    assert [line["drops"] for line in told.lines()] == list(range(MOST))
    told.repeats.tell(told.log)
    assert told.lines() == [], "the minute is not over"
    told.clock.elapsed = WITHIN
    told.repeats.tell(told.log)
    (line,) = told.lines()
    assert (line["event"], line["level"]) == ("it rains … repeated 7 times", "warning")
    assert (line["repeated"], line["plugin"]) == (7, "weather")
    told.repeats.tell(told.log)
    assert told.lines() == []


def test_what_goes_on_into_the_next_minute_is_written_again_and_nothing_is_miscounted() -> None:
    told = Log()
    for minute in range(3):
        told.clock.elapsed = minute * WITHIN
        for _ in range(MOST + 1):
            told.log.error("it rains")
    assert len(told.lines()) == 3 * MOST
    told.repeats.tell(told.log, ending=True)
    assert [line["event"] for line in told.lines()] == ["it rains … repeated once"] * 3


def test_lines_about_another_plugin_code_or_of_another_level_are_not_the_same() -> None:
    told = Log()
    for _ in range(MOST + 1):
        told.log.info("said", code="a")
        told.log.info("said", code="b")
        told.log.warning("said", code="b")
        told.log.bind(destination="crm").info("said", code="b")
        told.log.exception("said", code="b")
    assert len(told.lines()) == 5 * MOST
    told.repeats.tell(told.log, ending=True)
    levels = [line["level"] for line in told.lines()]
    assert levels == ["info", "info", "warning", "info", "error"]


def test_a_plugin_that_says_something_else_every_time_fills_neither_memory_nor_disk() -> None:
    told = Log()
    for i in range(3 * KINDS):
        told.log.info(f"event {i} was odd", plugin="chatty")
    told.log.info("started")
    written = told.lines()
    assert len(written) == KINDS + MOST + 1
    assert written[-1]["event"] == "started"
    told.repeats.tell(told.log, ending=True)
    (line,) = told.lines()
    assert (line["event"], line["plugin"]) == (f"other lines … repeated {2 * KINDS - MOST} times", "chatty")


def test_what_is_below_the_threshold_is_not_counted() -> None:
    told = Log()
    for _ in range(2 * MOST):
        told.log.debug("detail")
    told.repeats.tell(told.log, ending=True)
    assert told.lines() == []


async def test_the_task_tells_within_seconds_after_the_minute_and_of_the_rest_at_the_end() -> None:
    told = Log()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell_repeats, told.repeats, told.clock, told.log)
        await told.clock.advance(0)
        for _ in range(MOST + 1):
            told.log.info("early")
        await told.clock.advance(WITHIN + SWEEP)
        assert [line["event"] for line in told.lines()][MOST:] == ["early … repeated once"]
        for _ in range(MOST + 2):
            told.log.info("late")
        tasks.cancel_scope.cancel()
    assert [line["event"] for line in told.lines()][MOST:] == ["late … repeated 2 times"]


def test_a_logger_of_structlogs_own_can_use_it_too() -> None:
    repeats = Repeats(FakeClock().monotonic)
    event: structlog.typing.EventDict = {"event": "hello"}
    assert repeats(None, "info", event) is event
