"""The daemon as it answers, or does not; its parts in trouble; and addresses that somebody else has."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdpd.config.address import Listen
from cdpd.control.contract import CannotDo
from cdpd.doctor import service
from cdpd.doctor.finding import Finding
from cdpd.doctor.ports import owner_of_port
from cdpd.doctor.service import ask_daemon, cannot_bind, check_daemon, check_listening
from tests.cli.conftest import control_server

from .machine import FakeMachine, only, told


def status(**changes: Any) -> dict[str, Any]:
    """What a daemon that is well tells."""
    return {
        "state": "running",
        "version": "0.1.0",
        "pid": 4711,
        "listen": ["http://127.0.0.1:8080"],
        "pipeline": {"state": "running", "behind": 3, "hooks": {}},
        "destinations": {},
        **changes,
    }


class Daemon:
    """Answers `status`."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer

    async def status(self) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


# -- asking it -----------------------------------------------------------------------------------------------


def test_a_daemon_that_answers_is_heard(tmp_path: Path) -> None:
    with control_server(tmp_path, Daemon(status())):
        assert ask_daemon(tmp_path) == ([], status())


def test_no_daemon_is_told_with_how_to_start_one(tmp_path: Path) -> None:
    findings, answer = ask_daemon(tmp_path)
    assert told(findings) == [("daemon", "warning", f"no daemon is running on {tmp_path}")]
    assert answer is None


def test_a_socket_that_a_killed_daemon_left_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    findings, _ = ask_daemon(tmp_path)
    assert "control.sock is left from one that was killed" in only(findings).text


def test_a_daemon_that_says_nothing_is_a_problem(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "control.sock"))
        hanging.listen(1)
        findings, answer = ask_daemon(tmp_path, patience=0.05)
    finding = only(findings)
    assert (finding.state, answer) == ("problem", None)
    assert "does not answer (waited 0.05 s)" in finding.text


def test_a_daemon_that_fails_is_a_problem(tmp_path: Path) -> None:
    with control_server(tmp_path, Daemon(CannotDo("it is ill"))):
        findings, _ = ask_daemon(tmp_path)
    assert (only(findings).state, only(findings).text) == ("problem", "it is ill")


def test_a_socket_of_another_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("http.client.HTTPConnection.request", refused)
    finding = only(ask_daemon(tmp_path)[0])
    assert "belongs to another user" in finding.text
    assert finding.todo == "ask as that user, or as root"


# -- what it tells -------------------------------------------------------------------------------------------


def daemon(machine: FakeMachine | None = None, **changes: Any) -> list[tuple[str, str, str]]:
    return told(check_daemon(status(**changes), machine or FakeMachine()))


def test_a_daemon_that_is_well() -> None:
    well = {"state": "running", "lag_seconds": 0, "lag_events": 0, "parked": 0, "problem": None}
    assert daemon(destinations={"a": well, "b": {**well, "state": "disabled"}}) == [
        ("daemon", "ok", "running on http://127.0.0.1:8080: version 0.1.0, process 4711"),
        ("pipeline", "ok", "3 events behind"),
        ("destinations", "ok", "well: a, b"),
    ]


def test_an_upgrade_that_needs_a_restart_is_told() -> None:
    assert daemon(version="0.0.9")[0] == (
        "daemon",
        "warning",
        "version 0.0.9 is running, and 0.1.0 is installed",
    )


def test_a_daemon_on_its_way_up_or_down_is_told() -> None:
    assert daemon(state="stopping")[0] == ("daemon", "warning", "process 4711 is stopping")


def test_a_daemon_with_nearly_no_file_left_to_open_is_told() -> None:
    found = daemon(FakeMachine(files_open=900, files_limit=1000))
    assert found[1] == ("open files", "problem", "the daemon has 900 files open, of 1,000 that it may have")
    assert len(daemon(FakeMachine(files_open=800, files_limit=1000))) == 2
    assert len(daemon(FakeMachine(files_open=PermissionError()))) == 2, "not ours to see"


def test_a_process_of_several_that_does_not_answer_is_told() -> None:
    answer = status(
        state="without process",
        processes={"ingest": {"pid": 4712, "state": "running"}, "process": {"pid": None, "state": "waiting"}},
    )
    del answer["pipeline"]
    found = told(check_daemon(answer, FakeMachine(files_open=900, files_limit=1000)))
    assert found[0] == ("daemon", "problem", "it runs without process")
    assert [text for _, _, text in found[1:]] == [
        "the daemon has 900 files open, of 1,000 that it may have",
        "the process ingest has 900 files open, of 1,000 that it may have",
    ]


@pytest.mark.parametrize("state", ["waiting", "stopped", "failed"])
def test_a_pipeline_that_stands_still_is_told_with_the_reason(state: str) -> None:
    found = daemon(pipeline={"state": state, "reason": "geo failed 1000 times", "behind": 12_345})
    assert found[1] == ("pipeline", "problem", f"{state}: geo failed 1000 times (12,345 events wait)")


def test_a_pipeline_that_is_far_behind_is_told_with_its_slowest_hook() -> None:
    hooks = {"spec": {"seconds": 1.0}, "geo": {"seconds": 7.0}}
    pipeline = {"state": "running", "behind": 10_001, "hooks": hooks}
    finding = list(check_daemon(status(pipeline=pipeline), FakeMachine()))[1]
    assert (finding.state, finding.text) == ("warning", "10,001 events behind")
    assert finding.todo.endswith("most time went to the hook geo")


@pytest.mark.parametrize(
    ("trouble", "state", "text"),
    [
        ({"state": "paused", "problem": "401"}, "problem", "crm is paused: 401 (7 events wait)"),
        ({"state": "stopped", "problem": "no table"}, "problem", "crm is stopped: no table (7 events wait)"),
        ({"state": "waiting", "problem": "disk full"}, "problem", "crm is waiting: disk full (7 events wait)"),
        (
            {"state": "retrying", "last_error": "503", "failing_since": "2026-01-31T11:00:00.000Z"},
            "warning", "crm is failing since 2026-01-31T11:00:00.000Z: 503 (7 events wait)",
        ),
        ({"state": "running", "parked": 2}, "warning", "crm has 2 parked events, which it refused"),
        ({"state": "running", "lag_seconds": 7260}, "warning", "crm is 121 minutes behind (7 events wait)"),
    ],
    ids=["paused", "stopped", "waiting", "retrying", "parked", "lag"],
)  # fmt: skip
def test_a_destination_in_trouble_is_told(trouble: dict[str, Any], state: str, text: str) -> None:
    found = daemon(destinations={"crm": {"lag_events": 7, **trouble}})
    assert found[2:] == [("destinations", state, text)]


# -- addresses -----------------------------------------------------------------------------------------------


def listening(address: Listen, answer: dict[str, Any] | None = None, **machine: Any) -> Finding:
    return only(check_listening([address], answer, FakeMachine(**machine)))


@contextmanager
def somebody(family: int, address: Any) -> Iterator[Any]:
    """A program that listens."""
    with socket.socket(family) as other:
        other.bind(address)
        other.listen(1)
        yield other.getsockname()


def test_our_daemons_address_is_well() -> None:
    finding = listening(Listen("127.0.0.1", 8080), status())
    assert (finding.state, finding.text) == ("ok", "the daemon listens on 127.0.0.1:8080")
    chosen = listening(Listen("127.0.0.1", 0), status(listen=["http://127.0.0.1:40123"]))
    assert chosen.text == "the daemon listens on a port that the system chose"


def test_an_address_that_another_program_has_is_told_with_its_name() -> None:
    with somebody(socket.AF_INET, ("127.0.0.1", 0)) as (_, port):
        finding = listening(Listen("127.0.0.1", port))
        assert finding.state == "problem"
        assert f"127.0.0.1:{port} is taken by " in finding.text
        assert f"(process {os.getpid()})" in finding.text
        assert listening(Listen("", port)).state == "problem"
    assert listening(Listen("127.0.0.1", port)).text == f"127.0.0.1:{port} is free"


def test_what_systemd_holds_for_us_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "owner_of_port", lambda _: "systemd (process 1)")
    with somebody(socket.AF_INET, ("127.0.0.1", 0)) as (_, port):
        assert "hands it over (cdpd.socket)" in listening(Listen("127.0.0.1", port)).text


def test_an_address_that_is_not_this_machines_is_told() -> None:
    finding = listening(Listen("192.0.2.1", 8080))
    assert (finding.state, finding.text) == ("problem", "192.0.2.1:8080: this machine has no such address")


def test_a_host_name_that_is_none_is_told() -> None:
    finding = listening(Listen("a" * 70 + ".invalid", 8080))
    assert finding.state == "problem"
    assert "the host name cannot be resolved: it is no name" in finding.text


def test_a_port_that_this_user_may_not_have_is_told() -> None:
    finding = cannot_bind(Listen("", 80), PermissionError(errno.EACCES, "Permission denied"))
    assert finding is not None
    assert finding.text == ":80: this user may not listen on port 80"
    assert "CAP_NET_BIND_SERVICE" in finding.todo
    assert cannot_bind(Listen("", 80), OSError(errno.EAFNOSUPPORT, "no IPv6")) is None
    other = cannot_bind(Listen("", 80), OSError(errno.ENOBUFS, "No buffer space available"))
    assert other is not None
    assert other.text == ":80: no buffer space available"


def test_unix_sockets_free_taken_left_over_or_impossible(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    address = Listen("", 0, path=str(path))
    assert listening(address).text == f"unix:{path} is free"
    assert listening(address, status(listen=[address.url])).text == f"the daemon listens on unix:{path}"
    with somebody(socket.AF_UNIX, str(path)):
        assert listening(address).text == f"unix:{path}: another program listens there"
    assert listening(address).text == f"unix:{path} is free: the socket there is left over"
    assert listening(address, writable=False).text == f"unix:{path}: {tmp_path} cannot be written to"
    path.unlink()
    path.touch()
    assert listening(address).text == f"unix:{path}: a file is there that is no socket"
    gone = Listen("", 0, path=str(tmp_path / "gone" / "http.sock"))
    assert "the folder" in listening(gone).text
    assert listening(gone).state == "problem"


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5501 1 0
   1: 0100007F:1F91 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 5502 1 0
"""


def test_who_has_a_port_is_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(TCP)
    fds = tmp_path / "812" / "fd"
    fds.mkdir(parents=True)
    (fds / "3").symlink_to("socket:[5501]")
    (fds / "4").symlink_to("socket:[5502]")
    (tmp_path / "99").mkdir()
    (tmp_path / "812" / "comm").write_text("nginx\n")
    assert owner_of_port(8080, tmp_path) == "nginx (process 812)"
    assert owner_of_port(8081, tmp_path) == "", "that is a connection, no listener"
    (fds / "3").unlink()
    assert owner_of_port(8080, tmp_path) == "", "not ours to see"
    assert owner_of_port(8080, tmp_path / "nowhere") == ""
