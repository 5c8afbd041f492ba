"""The daemon's log: JSON for machines, priorities for the journal, no texts of exceptions."""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
from typing import Any

import pytest

from cdpd.config.model import LoggingConfig
from cdpd.logs import Threshold, goes_to_journal, libraries_tell, make_log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(file: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


def json_log(file: io.StringIO, level: str = "info") -> Any:
    return make_log(LoggingConfig(format="json"), file, Threshold(level))


def test_a_line_of_json_begins_with_when_how_grave_and_what() -> None:
    file = io.StringIO()
    json_log(file).bind(destination="crm").warning("it waits", problem="503", lists=["a", "b"])
    (line,) = written(file)
    assert list(line) == ["timestamp", "level", "event", "destination", "problem", "lists"]
    assert line["timestamp"].endswith("Z")
    assert line["lists"] == ["a", "b"]


def test_it_is_pretty_on_a_terminal_only() -> None:
    for file, pretty in ((Terminal(), True), (io.StringIO(), False)):
        make_log(LoggingConfig(), file, Threshold("info")).info("started")
        assert file.getvalue().startswith("{") is not pretty


def test_the_threshold_can_change_while_it_runs() -> None:
    file, threshold = io.StringIO(), Threshold("warning")
    log = make_log(LoggingConfig(format="json"), file, threshold)
    log.info("one")
    threshold.level = "debug"
    log.debug("two")
    assert [line["event"] for line in written(file)] == ["two"]


@pytest.mark.parametrize("shown", [True, "the exception", "a tuple"])
def test_an_exception_is_told_by_type_and_place_and_never_by_its_text(shown: Any) -> None:
    file = io.StringIO()
    try:
        int("jane@example" + ".com")
    except ValueError as error:
        exc_info = {"the exception": error, "a tuple": (type(error), error, error.__traceback__)}.get(
            shown, True
        )
        json_log(file).error("it failed", exc_info=exc_info)
    (line,) = written(file)
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ValueError")
    assert "jane@example.com" not in file.getvalue()


def test_what_json_cannot_say_is_said_in_words() -> None:
    file = io.StringIO()
    json_log(file).info("odd", thing={1, 2}, broken="\udcff")
    (line,) = written(file)
    assert line["thing"] == "{1, 2}"


def test_in_the_journal_a_line_has_its_priority() -> None:
    with tempfile.TemporaryFile("w+") as file:
        found = os.fstat(file.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        log = make_log(LoggingConfig(), file, Threshold("debug"), environ=environ)
        log.debug("a"), log.info("b"), log.warning("c"), log.error("d")
        file.seek(0)
        lines = file.read().splitlines()
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>"]
    assert [json.loads(line[3:])["event"] for line in lines] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("named", ["", "1:2", "nonsense"])
def test_another_file_is_not_the_journal(named: str) -> None:
    with tempfile.TemporaryFile("w") as file:
        assert not goes_to_journal(file, {"JOURNAL_STREAM": named})
    assert not goes_to_journal(io.StringIO(), {"JOURNAL_STREAM": named})


def test_what_libraries_say_goes_the_same_way_by_its_first_line() -> None:
    file = io.StringIO()
    library = logging.getLogger("some.library")
    with libraries_tell(json_log(file)):
        library.info("not worth a line")
        library.warning("careful with %s\nand all it holds: jane@example.com", "that")
        try:
            raise KeyError("@".join(("jane", "example.com")))
        except KeyError:
            library.exception("it failed")
    library.warning("nobody hears this any more")
    first, second = written(file)
    assert (first["event"], first["level"], first["logger"]) == (
        "careful with that",
        "warning",
        "some.library",
    )
    assert (second["event"], second["level"]) == ("it failed", "error")
    assert second["exception"].endswith("KeyError")
    assert "jane@example.com" not in file.getvalue()
