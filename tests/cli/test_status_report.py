"""`cdpd status` for people: short, and with each problem where it belongs."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from cdpd.cli.status_report import StatusReport, duration
from cdpd.timestamp import format_time


def told(**changed: Any) -> dict[str, Any]:
    return {
        "state": "running",
        "version": "1.2.3",
        "pid": 4711,
        "uptime_seconds": 4,
        "listen": ["http://127.0.0.1:8080"],
        "data_dir": "/var/lib/cdpd",
        "configuration": ["/etc/cdpd/cdpd.toml", "/etc/cdpd/conf.d/app.toml"],
        "streams": {"received": {"begin": 5, "end": 1205, "lines": 1200}},
        "pipeline": {"state": "running", "received": 1205, "behind": 0, "behind_seconds": 0.0, "hooks": {}},
        "destinations": {},
        "counters": {},
        **changed,
    }


def destination(**changed: Any) -> dict[str, Any]:
    return {
        "state": "running",
        "position": 7,
        "lag_events": 0,
        "lag_seconds": 0,
        "in_flight": 0,
        "waiting_to_retry": 0,
        "delivered": 1234,
        "parked": 0,
        "failing_since": None,
        "problem": None,
        "last_error": None,
        **changed,
    }


def lines(width: int | None = None, **changed: Any) -> list[str]:
    return StatusReport(told(**changed), width=width).text().splitlines()


def test_the_daemon_is_one_line_and_where_things_are_follows() -> None:
    assert lines(uptime_seconds=3 * 86400 + 7200)[:3] == [
        "cdpd 1.2.3 · running for 3 d 2 h · pid 4711 · http://127.0.0.1:8080",
        "data           /var/lib/cdpd",
        "configuration  /etc/cdpd/cdpd.toml, /etc/cdpd/conf.d/app.toml",
    ]


def test_what_else_there_is_to_know_of_it_is_told_where_it_is_so() -> None:
    found = lines(
        state="stopping",
        listen=["http://127.0.0.1:80", "unix:/run/cdpd.sock"],
        certificate={"from": "/etc/tls.pem", "expires": "2027-01-01T00:00:00Z"},
        configuration="none: development defaults",
    )
    assert found[:5] == [
        "cdpd 1.2.3 · stopping, started 4 s ago · pid 4711 · http://127.0.0.1:80",
        "also at        unix:/run/cdpd.sock",
        "data           /var/lib/cdpd",
        "configuration  none: development defaults",
        "certificate    /etc/tls.pem, until 2027-01-01T00:00:00Z",
    ]


def test_a_stream_tells_how_much_is_kept_and_from_where_to_where() -> None:
    found = lines()
    at = found.index("STREAM    EVENTS  OFFSETS")
    assert found[at + 1] == "received   1,200  5 to 1,205"


def test_a_pipeline_in_trouble_tells_how_far_behind_it_is_and_why() -> None:
    pipeline = {
        "state": "stopped",
        "reason": "picky failed 1000 times in a row",
        "behind": 1500,
        "behind_seconds": 75.2,
        "hooks": {"spec": {"seconds": 0.123, "failures": 0}, "picky": {"seconds": 3700.0, "failures": 1000}},
    }
    found = lines(pipeline=pipeline)
    at = found.index("PIPELINE  stopped, 1,500 events behind, the oldest came 1 min ago")
    assert found[at + 1 : at + 3] == [
        "  picky failed 1000 times in a row",
        "  hooks: spec 0.123 s, picky 1 h 1 min (1,000 failures)",
    ]


def test_a_destinations_problem_stands_below_it_with_how_long_it_has_lasted() -> None:
    since = format_time(int(time.time() * 1000) - 7_205_000)
    found = lines(
        destinations={
            "copy": destination(),
            "running": destination(
                state="paused",
                lag_events=1,
                lag_seconds=70,
                parked=2,
                failing_since=since,
                problem="it answered 401",
            ),
        }
    )
    assert found[-4:] == [
        "DESTINATION  STATE    DELIVERED  PARKED  BEHIND",
        "copy         running      1,234       0  -",
        "running      paused       1,234       2  1 event, 1 min",
        "  for 2 h: it answered 401",
    ]


def test_nothing_is_wider_than_the_terminal() -> None:
    problem = "it answered 401 Unauthorized: " + "the vendor has a lot to say " * 9 + "\n\x1b[2J"
    found = lines(80, destinations={"crm": destination(state="paused", problem=problem)})
    assert max(map(len, found)) <= 80
    assert len([line for line in found if line.startswith("  ")]) > 3
    assert "\x1b" not in "".join(found)


def test_the_state_is_coloured_and_a_name_that_is_a_state_is_not() -> None:
    report = StatusReport(told(destinations={"paused": destination(state="paused")}), colours=True)
    assert report.text().splitlines()[-1].startswith("paused       \x1b[31mpaused\x1b[0m")
    assert (
        re.sub(r"\x1b\[\d+m", "", report.text())
        == StatusReport(told(destinations={"paused": destination(state="paused")})).text()
    )


def test_what_it_does_not_know_is_left_to_be_shown_otherwise() -> None:
    assert StatusReport(told(processes={"ingest": {"pid": 1}})).more == {"processes": {"ingest": {"pid": 1}}}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.4, "less than a second"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (18720, "5 h 12 min"),
        (86400, "1 d"),
        (97200, "1 d 3 h"),
    ],
)
def test_durations_are_told_in_two_units_at_most(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_alerts_that_fire_are_named_and_what_is_not_told_yet() -> None:
    alerts: dict[str, Any] = {"watched": 4, "firing": [], "unsent": [], "problem": None}
    assert not any("ALERTS" in line for line in lines())
    assert lines(alerts=alerts)[-1] == "ALERTS  none fires"
    since = format_time(round(time.time() * 1000) - 610_000)
    crm = {"alert": "late", "about": "crm", "when": "lag > 15m", "since": since, "now": "16 min behind"}
    disk = {"alert": "disk", "about": None, "when": "disk_full", "since": since, "now": None}
    unsent = {"channel": "to ops", "messages": 1, "problem": "no answer in time (ETIMEDOUT)"}
    firing = {**alerts, "firing": [crm, disk], "unsent": [unsent], "problem": "state.db cannot be written"}
    assert lines(alerts=firing)[-5:] == [
        "ALERTS  2 firing",
        "  late of crm: for 10 min: lag > 15m; now 16 min behind",
        "  disk: for 10 min: disk_full",
        "  not delivered yet: to ops: no answer in time (ETIMEDOUT)",
        "  state.db cannot be written",
    ]


def test_a_pause_by_hand_is_told_with_since_when_and_why() -> None:
    since = format_time(round((time.time() - 7205) * 1000))
    paused = {"since": since, "reason": "their maintenance"}
    out = lines(destinations={"crm": destination(state="paused by hand", paused=paused, lag_events=3)})
    assert out[-2].split() == ["crm", "paused", "by", "hand", "1,234", "0", "3", "events"]
    assert out[-1] == "  for 2 h: their maintenance"
    paused["reason"] = ""
    out = lines(destinations={"crm": destination(state="paused by hand", paused=paused)})
    assert out[-1] == "  for 2 h: no reason was given"
