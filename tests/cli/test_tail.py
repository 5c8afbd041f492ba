"""`cdpd tail`: follows a stream that another process writes."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stored import discarded, event, received, store

from .conftest import Cdpd


@contextmanager
def tail(data: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A tail in a process of its own, ended by Ctrl-C."""
    program = [sys.executable, "-m", "cdpd", "tail", *options, "--data-dir", str(data)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert (process.wait(), process.stderr.read()) == (130, "")


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def test_events_are_shown_as_they_arrive_from_another_process(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1)])
    with tail(tmp_path, "--from", "beginning", "--json") as process:
        assert json.loads(lines(process, 1)[0]) == event(1)
        store(tmp_path, "events", [event(2), event(3)])  # another writer, another epoch, another segment
        assert [json.loads(line)["messageId"] for line in lines(process, 2)] == ["m2", "m3"]


def test_a_line_tells_when_from_where_what_who_and_the_details(tmp_path: Path) -> None:
    store(
        tmp_path,
        "events",
        [event(1), event(2, type="page", event=None, name="Home", userId=None, anonymousId="a")],
    )
    with tail(tmp_path, "--from", "0") as process:
        assert lines(process, 2) == [
            '12:00:01.000  website  track  Signed Up  u1  {"plan":"pro","seats":1}\n',
            '12:00:01.000  website  page  Home  a  {"plan":"pro","seats":2}\n',
        ]


def test_the_other_streams_are_shown_with_what_is_theirs(tmp_path: Path) -> None:
    by_path = received(2, event={"event": "Signed Up", "anonymousId": "a"}, via={"path": "/v1/t", "ip": ""})
    store(tmp_path, "received", [received(1), by_path])
    store(tmp_path, "discarded", [discarded(1)])
    with tail(tmp_path, "--from", "0", "--stream", "received") as process:
        assert lines(process, 2) == [
            '12:00:01.000  website  track  Signed Up  u1  {"plan":"pro"}\n',
            "12:00:01.000  website  track  Signed Up  a\n",
        ]
    with tail(tmp_path, "--from", "0", "--stream", "discarded") as process:
        assert lines(process, 1) == [
            '12:00:02.000  website  track  Signed Up  u1  spec: unknown_type  there is no call "trak"\n'
        ]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--source", "app"), ("--type", "page"), ("--event", "Wanted"), ("--user", "someone")],
)
def test_only_what_is_asked_for_is_shown(tmp_path: Path, option: str, value: str) -> None:
    wanted = {
        "--source": event(2, projectId="app"),
        "--type": event(2, type="page"),
        "--event": event(2, event="Wanted"),
        "--user": event(2, userId="someone"),
    }
    store(tmp_path, "events", [event(1), wanted[option], event(3)])
    with tail(tmp_path, "--from", "0", "--json", option, value) as process:
        assert json.loads(lines(process, 1)[0])["messageId"] == "m2"


def test_objects_are_shown_where_they_are_asked_for(tmp_path: Path) -> None:
    room = event(2, type="set", event=None, userId=None, collection="rooms", id="r1")
    store(tmp_path, "events", [event(1), room, event(3)])
    with tail(tmp_path, "--from", "0", "--json") as process:
        assert [json.loads(line)["messageId"] for line in lines(process, 2)] == ["m1", "m3"]
    with tail(tmp_path, "--from", "0", "--type", "set") as process:
        assert lines(process, 1) == ['12:00:01.000  website  set  rooms  r1  {"plan":"pro","seats":2}\n']


def test_a_strangers_text_cannot_steer_the_terminal(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1, event="\x1b]0;title\x07\n")])
    with tail(tmp_path, "--from", "0") as process:
        (line,) = lines(process, 1)
    assert "\\x1b]0;title\\x07\\n" in line
    assert "\x1b" not in line


def test_without_from_only_what_arrives_from_now_on_is_shown(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(0)])
    with tail(tmp_path, "--json") as process:
        assert process.stdout is not None
        number = 0
        while not select.select([process.stdout], [], [], 0.05)[
            0
        ]:  # until it has started and seen one arrive
            number += 1
            store(tmp_path, "events", [event(number)])
        assert json.loads(lines(process, 1)[0])["messageId"] != "m0"


def test_a_reader_that_goes_away_ends_it_without_waiting_for_another_event(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1)])
    program = [sys.executable, "-m", "cdpd", "tail", "--from", "0", "--data-dir", str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_damage_ends_it_with_a_message(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = store(tmp_path, "events", [event(1), event(2)])
    (path,) = folder.glob("*.zst")
    path.write_bytes(path.read_bytes()[:-1])
    ran = cdpd("tail", "--from", "beginning", "--json", "--data-dir", tmp_path)
    assert ran.code == 1
    assert [line["messageId"] for line in ran.objects] == ["m1"]
    assert f"damaged log: {path}" in ran.err


def test_what_is_not_there_is_told(cdpd: Cdpd, tmp_path: Path) -> None:
    assert "nothing is stored in" in cdpd("tail", "--data-dir", tmp_path).err
    store(tmp_path, "events", [])
    ran = cdpd("tail", "--stream", "evnts", "--data-dir", tmp_path)
    assert (ran.code, ran.err) == (2, "cdpd: there is no stream 'evnts'; did you mean \"events\"?\n")
    assert cdpd("tail", "--from", "noon", "--data-dir", tmp_path).code == 2
