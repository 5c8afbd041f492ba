"""`cdpd filter`: an expression tried on events."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cdpd, in_a_process

EVENTS = (
    '{"type":"track","event":"Signed Up","properties":{"plan":"pro","n":1.10}}\n'
    "\n"
    '  {"type":"page","name":"ä"}\n'
    '{"type":"track","event":"Signed Up"}'
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.ndjson"
    path.write_text(EVENTS)
    return path


def test_it_says_true_or_false_for_each_event(cdpd: Cdpd, file: Path) -> None:
    ran = cdpd("filter", "event = 'Signed Up' and properties.plan != 'free'", file)
    assert (ran.code, ran.lines, ran.err) == (0, ["true", "false", "true"], "")


def test_select_prints_the_events_as_they_are(cdpd: Cdpd, file: Path) -> None:
    ran = cdpd("filter", "properties.n > 1 or type = 'page'", file, "--select")
    assert ran.lines == [EVENTS.splitlines()[0], EVENTS.splitlines()[2].strip()]


def test_a_pipe_is_read_where_no_file_is_named() -> None:
    for more in ((), ("-",)):
        ran = in_a_process("filter", "type = 'page'", *more, stdin=EVENTS.encode())
        assert (ran.code, ran.lines) == (0, ["false", "true", "false"])


def test_a_trigger_has_its_own_answers_for_what_is_missing(cdpd: Cdpd, file: Path) -> None:
    text = "!contains(properties.plan, 'x')"
    assert cdpd("filter", text, file).lines == ["true", "true", "true"]
    assert cdpd("filter", "--trigger", text, file).lines == ["true", "false", "false"]


def test_an_expression_that_is_wrong_is_shown_with_its_place(cdpd: Cdpd, file: Path) -> None:
    ran = cdpd("filter", "type = 'track' && event == 'a'", file)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "cdpd: column 16: && is no operator here; write and\n"
        "  type = 'track' && event == 'a'\n"
        "                 ^\n"
    )  # fmt: skip
    assert cdpd("filter", "--trigger", "groupId = 'g'", file).code == 2


def test_where_it_cannot_be_evaluated_it_is_false_and_told(cdpd: Cdpd, tmp_path: Path) -> None:
    file = tmp_path / "odd.ndjson"
    file.write_text('{"event":"ab"}\n{"event":3}\n')
    ran = cdpd("filter", "length(event) = 2", file)
    assert (ran.code, ran.lines) == (1, ["true", "false"])
    assert ran.err == f"cdpd: {file}:2: length: argument 1 is a number, expected a string or a list\n"


def test_a_line_that_is_no_event_costs_only_itself(cdpd: Cdpd, tmp_path: Path) -> None:
    file = tmp_path / "odd.ndjson"
    file.write_bytes(b'{"event":\n[1]\n\xff\n' + b"[" * 100_000 + b'\n{"type":"page"}\n')
    ran = cdpd("filter", "type = 'page'", file)
    assert (ran.code, ran.lines) == (1, ["false"] * 4 + ["true"])
    first, second, third, fourth = ran.err.splitlines()
    assert first.startswith(f"cdpd: {file}:1: not JSON: ")
    assert second == f"cdpd: {file}:2: expected an event, an object like {{…}}"
    assert third.startswith(f"cdpd: {file}:3: not JSON: ")
    assert fourth.startswith(f"cdpd: {file}:4: ")


def test_many_bad_lines_are_not_all_told(cdpd: Cdpd, tmp_path: Path) -> None:
    file = tmp_path / "odd.ndjson"
    file.write_text("x\n" * 100)
    ran = cdpd("filter", "all", file)
    assert (ran.code, len(ran.lines), len(ran.err.splitlines())) == (1, 100, 21)


def test_what_looks_mistyped_is_told_and_tried(cdpd: Cdpd, file: Path) -> None:
    ran = cdpd("filter", "propertes.plan = 'pro'", file)
    assert (ran.code, ran.lines) == (0, ["false", "false", "false"])
    assert "did you mean properties?" in ran.err


def test_a_file_that_is_not_there_is_told(cdpd: Cdpd) -> None:
    ran = cdpd("filter", "all", "gone.ndjson")
    assert (ran.code, ran.err) == (2, "cdpd: cannot read gone.ndjson: no such file or directory\n")
