"""`cdpd status`, `reload` and `run`: asking a daemon, and what is said where there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cdpd.config.problem import ConfigError, Problem
from cdpd.control.contract import Busy
from cdpd.data_lock import locked

from .conftest import Cdpd, control_server


class FakeDaemon:
    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.reloaded: dict[str, Any] = {
            "changed": [],
            "details": {"named": {}, "keys": {}},
            "needs_restart": [],
            "warnings": [],
        }

    async def status(self) -> dict[str, Any]:
        return {
            "state": "running",
            "version": "1.2.3",
            "pid": 4711,
            "listen": ["http://127.0.0.1:8080"],
            "uptime_seconds": 12345,
            "streams": {"received": {"begin": 0, "end": 1200}, "events": {"begin": 0, "end": 7}},
            "destinations": {},
            "counters": {
                "cdpd_requests_total": {"/v1/batch,200": 1234.0},
                "cdpd_hook_seconds_total": {"spec": 0.12345},
            },
        }

    async def reload(self) -> dict[str, Any]:
        if self.failure:
            raise self.failure
        return self.reloaded


def test_status_shows_every_part_and_counters_when_asked(cdpd: Cdpd, tmp_path: Path) -> None:
    with control_server(tmp_path, FakeDaemon()):
        ran = cdpd("status", "--data-dir", tmp_path)
        counted = cdpd("status", "--counters", "--data-dir", tmp_path)
        machine = cdpd("status", "--json", "--data-dir", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines == [
        "cdpd 1.2.3 · running for 3 h 25 min · pid 4711 · http://127.0.0.1:8080",
        "",
        "STREAM    EVENTS  OFFSETS",
        "received   1,200  0 to 1,200",
        "events         7  0 to 7",
        "",
        "DESTINATIONS  none",
    ]
    assert counted.lines[: len(ran.lines)] == ran.lines
    assert counted.lines[counted.lines.index("counters") + 1 :] == [
        "  cdpd_requests_total",
        "    /v1/batch,200  1,234",
        "  cdpd_hook_seconds_total",
        "    spec  0.1235",
    ]
    assert machine.json["streams"]["received"]["end"] == 1200
    assert machine.json["counters"]["cdpd_requests_total"] == {"/v1/batch,200": 1234.0}


def test_reload_names_what_came_went_and_changed_and_what_needs_a_restart(cdpd: Cdpd, tmp_path: Path) -> None:
    daemon = FakeDaemon()
    daemon.reloaded = {
        "changed": ["http", "sources", "destinations", "the certificate"],
        "details": {
            "named": {
                "sources": {
                    "added": ["app", "shop"],
                    "removed": [],
                    "renamed": {},
                    "changed": {"website": ["write_keys", "labels"]},
                },
                "destinations": {
                    "added": [],
                    "removed": ["old"],
                    "renamed": {"mail": "post"},
                    "changed": {"mail": ["url"]},
                },
            },
            "keys": {"http": ["public_url"]},
        },
        "needs_restart": ["metrics.listen"],
        "warnings": ["cdpd.toml:1:1: odd"],
    }
    with control_server(tmp_path, daemon):
        ran = cdpd("reload", "--data-dir", tmp_path)
        machine = cdpd("reload", "--json", "--data-dir", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines == [
        "reloaded",
        "  http             changed: public_url",
        "  sources          added: app, shop",
        "                   changed: website (write_keys, labels)",
        "  destinations     removed: old (its place and its parked events are kept: cdpd destinations ls)",
        "                   renamed: mail (was post)",
        "                   changed: mail (url)",
        "  the certificate  changed",
        "  restart          metrics.listen: the new value counts from the next start on",
        "warning: cdpd.toml:1:1: odd",
    ]
    assert machine.json == daemon.reloaded


def test_reload_says_that_nothing_is_different(cdpd: Cdpd, tmp_path: Path) -> None:
    with control_server(tmp_path, FakeDaemon()):
        assert cdpd("reload", "--data-dir", tmp_path).lines == [
            "reloaded: nothing in the configuration is different"
        ]


def test_reload_of_a_wrong_configuration_names_the_mistakes(cdpd: Cdpd, tmp_path: Path) -> None:
    daemon = FakeDaemon()
    daemon.failure = ConfigError(
        [Problem("unknown key", "cdpd.toml", 2, 1, "http.lisen", 'did you mean "listen"?')]
    )
    with control_server(tmp_path, daemon):
        ran = cdpd("reload", "--data-dir", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "cdpd: the configuration is wrong; nothing was changed:\n"
        '  cdpd.toml:2:1: http.lisen: unknown key; did you mean "listen"?\n'
    )


def test_without_a_daemon_they_exit_3_and_say_what_to_do(cdpd: Cdpd, tmp_path: Path) -> None:
    for command in ("status", "reload"):
        ran = cdpd(command, "--data-dir", tmp_path / "nowhere")
        assert (ran.code, ran.out) == (3, "")
        assert ran.err == (
            f"cdpd: no daemon is running on {tmp_path / 'nowhere'}; start one with `cdpd run`, "
            "or name its folder with --data-dir\n"
        )


def test_run_refuses_an_address_that_is_none(cdpd: Cdpd) -> None:
    ran = cdpd("run", "--listen", "8080")
    assert ran.code == 2
    assert ran.err.startswith("cdpd: --listen: '8080' is no address to listen on: write HOST:PORT")
    assert list(Path().iterdir()) == []


def test_a_daemon_that_cannot_answer_at_the_moment_is_exit_code_3(cdpd: Cdpd, tmp_path: Path) -> None:
    daemon = FakeDaemon()
    daemon.failure = Busy('the process "deliver" does not answer at the moment (starting): try again')
    with control_server(tmp_path, daemon):
        ran = cdpd("reload", "--data-dir", tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == 'cdpd: the process "deliver" does not answer at the moment (starting): try again\n'


def test_a_daemon_that_is_just_starting_is_not_taken_for_none(cdpd: Cdpd, tmp_path: Path) -> None:
    with locked(tmp_path):
        ran = cdpd("status", "--data-dir", tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == (
        f"cdpd: a daemon (pid {os.getpid()}) is starting or stopping on {tmp_path}, and does not answer at the "
        "moment: try again\n"
    )
    assert "no daemon is running" in cdpd("status", "--data-dir", tmp_path).err
