"""`cdpd map`: a mapping tried on events."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cdpd, in_a_process

EVENTS = (
    '{"type":"track","event":"Signed Up","userId":"u","properties":{"plan":"pro","n":10.0}}\n'
    '{"type":"page","name":"ä"}\n'
)
JSON = '{"user": {"@path": "$.userId"}, "title": {"@template": "{{event}}{{name}}"}, "n": {"@path": "$.properties.n"}}'
TOML = """\
title = { "@template" = "{{event}}{{name}}" }
user = { "@path" = "$.userId" }

[n]
"@path" = "$.properties.n"
"""
MADE = ['{"user":"u","title":"Signed Up","n":10}', '{"title":"ä"}']


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.ndjson"
    path.write_text(EVENTS)
    return path


@pytest.mark.parametrize(("name", "content"), [("m.json", JSON), ("m", JSON)])
def test_it_prints_what_becomes_of_each_event(
    cdpd: Cdpd, file: Path, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    ran = cdpd("map", tmp_path / name, file)
    assert (ran.code, ran.lines, ran.err) == (0, MADE, "")


def test_a_mapping_may_be_toml_or_written_on_the_command_line(cdpd: Cdpd, file: Path, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(TOML)
    assert [set(made) for made in cdpd("map", tmp_path / "m.toml", file).objects] == [
        {"user", "title", "n"},
        {"title"},
    ]
    assert cdpd("map", JSON, file).lines == MADE


def test_a_pipe_is_read_where_no_file_is_named() -> None:
    ran = in_a_process("map", JSON, stdin=EVENTS.encode())
    assert (ran.code, ran.lines) == (0, MADE)


def test_nothing_at_all_is_null(cdpd: Cdpd, file: Path) -> None:
    assert cdpd("map", '{"@path": "$.userId"}', file).lines == ['"u"', "null"]


def test_every_fault_of_a_mapping_is_listed(cdpd: Cdpd, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text('{"a": {"@pth": "x"}, "b": {"@case": {"operator": "title"}}}')
    ran = cdpd("map", path, file)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"cdpd: {path}: 2 faults in the mapping\n"
        "  a.@pth: no directive; did you mean @path?\n"
        "  b.@case.operator: expected lower or upper\n"
    )
    assert (
        cdpd("map", '{"a": {"@pth": "x"}}', file).err == "cdpd: a.@pth: no directive; did you mean @path?\n"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.json", b'{"a":\n  }', "{}:2:3: not JSON: Expecting value"),
        ("m.json", b"[]", "{}: a mapping is an object, not a list"),
        ("m.json", b"\xff", "{}: not UTF-8"),
        ("m.json", b"[" * 100_000, "{}: not JSON"),
        ("m.toml", b"a = ", "{}: not TOML: Invalid value"),
        ("m.toml", b"a = 2026-01-31", "{}: a: date is no JSON value"),
    ],
)
def test_a_file_that_is_no_mapping_is_told(
    cdpd: Cdpd, file: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    ran = cdpd("map", path, file)
    assert ran.code == 2
    assert ran.err.startswith("cdpd: " + message.format(path))
    assert "Traceback" not in ran.err


def test_an_event_that_cannot_be_mapped_costs_only_itself(cdpd: Cdpd, file: Path) -> None:
    ran = cdpd("map", '{"a": {"@path": {"@path": "$.userId"}}}', file)
    assert (ran.code, ran.lines) == (1, ["{}"])
    assert ran.err == f"cdpd: {file}:2: @path: the computed path is nothing, expected a string\n"
