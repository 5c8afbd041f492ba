"""`cdpd alerts`: what it prints of a daemon's answers. With a real daemon: tests/alerts/test_running.py."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from cdpd.config.alert_rules import broken_alert_rules

from .conftest import Cdpd, control_server

TOLD: dict[str, Any] = {
    "alerts": [
        {
            "alert": "late",
            "about": "crm",
            "when": "lag > 15m",
            "state": "firing",
            "since": "2026-01-31T12:00:01.234Z",
            "now": "16 min behind, 2 events",
            "to": ["to ops"],
        },
        {"alert": "off", "about": None, "when": "failing", "state": "disabled"},
    ],
    "unsent": [{"channel": "to ops", "messages": 2, "problem": "no answer in time (ETIMEDOUT)"}],
    "problem": None,
}


def calls(listed: dict[str, Any], sent: list[dict[str, Any]]) -> Any:
    async def ls(_: bytes) -> dict[str, Any]:
        return listed

    async def test(body: bytes) -> dict[str, Any]:
        return {"alert": msgspec.json.decode(body)["alert"], "sent": sent}

    return {"GET /alerts": ls, "POST /alerts/test": test}


def told(result: str, **more: Any) -> dict[str, Any]:
    plain = {"channel": "to ops", "reason": "", "status": None, "after": None, "answer": "", "seconds": 0.25}
    return {**plain, "result": result, **more}


def test_each_alert_is_a_line_and_what_is_not_delivered_follows(cdpd: Cdpd, tmp_path: Path) -> None:
    with control_server(tmp_path, object(), calls(TOLD, [])):
        ran = cdpd("alerts", "ls", "--data-dir", tmp_path)
        as_json = cdpd("alerts", "ls", "--data-dir", tmp_path, "--json")
    assert [line.split("  ")[0] for line in ran.lines[:3]] == ["ALERT", "late", "off"]
    assert re.search(r"crm +firing +2026-01-31T12:00:01Z +lag > 15m +16 min behind, 2 events$", ran.lines[1])
    assert re.search(r"- +disabled +- +failing$", ran.lines[2])
    assert ran.lines[-1] == "not delivered yet: 2 messages, to ops: no answer in time (ETIMEDOUT)"
    assert as_json.json == TOLD


def test_without_an_alert_it_shows_one_that_can_be_used(cdpd: Cdpd, tmp_path: Path) -> None:
    with control_server(tmp_path, object(), calls({"alerts": [], "unsent": [], "problem": None}, [])):
        ran = cdpd("alerts", "ls", "--data-dir", tmp_path)
    assert ran.out.startswith("no alerts are configured")
    data = tomllib.loads("\n".join(ran.lines[1:]))
    assert list(data["alerts"]) == ["failing"]
    assert not list(broken_alert_rules(data))


def test_a_test_message_says_how_it_went_and_fails_where_one_did_not_arrive(
    cdpd: Cdpd, tmp_path: Path
) -> None:
    with control_server(tmp_path, object(), calls(TOLD, [told("delivered", status=200)])):
        ran = cdpd("alerts", "test", "late", "--data-dir", tmp_path)
        assert (ran.code, ran.out) == (0, "to ops: delivered (200) in 0.25 s\n")
    refused = told("refused", reason="it answered 400 Bad Request", status=400, answer="no such\nfield")
    with control_server(tmp_path, object(), calls(TOLD, [told("delivered"), refused])):
        ran = cdpd("alerts", "test", "late", "--data-dir", tmp_path)
        assert ran.code == 1
        assert ran.lines[1:] == [
            "to ops: refused in 0.25 s: it answered 400 Bad Request",
            "  it answered: no such field",
        ]


def test_without_a_daemon_it_says_so(cdpd: Cdpd, tmp_path: Path) -> None:
    assert cdpd("alerts", "ls", "--data-dir", tmp_path).code == 3
