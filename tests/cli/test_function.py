"""`cdpd function`: a function tried on events without a daemon, and errors that are kept of those that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.functions.kept import FunctionsDb, KeptError
from tests.cli.conftest import Cdpd

INSERT = """
from cdpd.functions import DropEvent

def on_track(event, settings):
    print("seen", settings)
    if event["event"] == "drop": raise DropEvent("not wanted")
    event["event"] = event["event"].upper()
    return event
"""
SOURCE = """
from cdpd.functions import Segment

def on_request(request, settings):
    Segment.track(event=request.headers["x-kind"], userId=request.json()["id"])
"""


def test_it_shows_what_a_function_makes_of_each_event(cdpd: Cdpd, tmp_path: Path) -> None:
    file = tmp_path / "here" / "f.py"
    file.write_text(INSERT)
    (tmp_path / "events.ndjson").write_text('{"type":"track","event":"a"}\n{"type":"page"}\n')
    ran = cdpd(
        "function",
        "test",
        file,
        *("--event", tmp_path / "events.ndjson", "--event", '{"type":"track","event":"drop"}'),
        *("--set", "rate=2"),
    )
    assert ran.code == 0
    assert ran.lines == [
        f"{tmp_path}/events.ndjson:1  done",
        '  {"type":"track","event":"A"}',
        "  printed:",
        "    seen {'rate': 2}",
        f"{tmp_path}/events.ndjson:2  unsupported: the function has no on_page",
        "event 2  dropped: not wanted",
        "  printed:",
        "    seen {'rate': 2}",
    ]


def test_a_source_function_gets_a_request_and_shows_what_it_emits(cdpd: Cdpd) -> None:
    Path("s.py").write_text(SOURCE)
    Path("body.json").write_text('{\n  "id": "u1"\n}')
    ran = cdpd("function", "test", "s.py", "--event", "body.json", "--header", "X-Kind: Paid", "--json")
    assert ran.code == 0
    (tried,) = ran.json
    assert tried["ended"] == "done"
    assert tried["emitted"] == [{"event": "Paid", "userId": "u1", "type": "track"}]


def test_a_failure_exits_1_with_the_traceback(cdpd: Cdpd) -> None:
    Path("d.py").write_text("def on_track(event, settings):\n    1 / 0\n")
    ran = cdpd("function", "test", "d.py", "--event", '{"type":"track"}')
    assert ran.code == 1
    assert ran.lines[0] == "event 1  failed: ZeroDivisionError: division by zero"
    assert any("d.py" in line for line in ran.lines)


def test_settings_and_kind_come_from_the_configuration_that_names_the_file(cdpd: Cdpd) -> None:
    Path("f.py").write_text(
        "def on_track(event, settings):\n    event['key'] = settings['key']\n    return event\n"
    )
    Path("cdpd.toml").write_text(
        '[sources.web]\nwrite_keys = ["wk_web_1"]\ninsert = { file = "f.py", settings = { key = "k" } }\n'
    )
    ran = cdpd("function", "test", "f.py", "--event", '{"type":"track"}')
    assert ran.lines == ["event 1  done", '  {"type":"track","key":"k"}']


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def on_trak(event, settings): pass", 'did you mean "on_track"?'),
        ("def on_track(event, settings)", "f.py:1: expected ':'"),
    ],
)
def test_a_file_that_is_no_function_exits_2(cdpd: Cdpd, text: str, said: str) -> None:
    Path("f.py").write_text(text)
    ran = cdpd("function", "test", "f.py", "--event", '{"type":"track"}')
    assert ran.code == 2
    assert said in ran.err


def test_a_file_that_does_not_load_is_told_with_its_traceback(cdpd: Cdpd) -> None:
    Path("f.py").write_text("import nowhere_at_all\ndef on_track(event, settings): pass")
    ran = cdpd("function", "test", "f.py", "--event", '{"type":"track"}')
    assert ran.code == 1
    assert "cannot be run: ModuleNotFoundError: No module named 'nowhere_at_all'" in ran.err


def test_logs_shows_the_newest_errors_of_all_functions_or_one(cdpd: Cdpd) -> None:
    data = Path("data")
    first = KeptError("source stripe", 1_700_000_000_000, "retry", "busy", output="a\nb", item='{"id":1}')
    second = KeptError(
        "destination mine", 1_700_000_001_000, "failed", "KeyError: 'x'", "Traceback …\nKeyError"
    )
    FunctionsDb(data / "functions.db").keep_errors([first])
    FunctionsDb(data / "plugins" / "mine" / "functions.db").keep_errors([second])
    assert cdpd("function", "logs", "--data-dir", data).lines == [
        "2023-11-14T22:13:20.000Z  source stripe  retry: busy",
        '  of: {"id":1}',
        "  printed:",
        "    a",
        "    b",
        "",
        "2023-11-14T22:13:21.000Z  destination mine  failed: KeyError: 'x'",
        "  traceback:",
        "    Traceback …",
        "    KeyError",
    ]
    (only,) = cdpd("function", "logs", "mine", "--data-dir", data, "--json").json
    assert (only["function"], only["at"]) == ("destination mine", "2023-11-14T22:13:21.000Z")
    assert (
        cdpd("function", "logs", "other", "--data-dir", data).out
        == "no errors of functions are kept of other\n"
    )
