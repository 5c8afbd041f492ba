"""Messages of alerts: what they say, that they arrive once whatever fails, and what a test message shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cdpd import metrics as names
from cdpd.alerts import outbox
from cdpd.destinations.contract import Batch, Destination
from cdpd.destinations.outcome import Delivered, Outcome
from cdpd.testing import Reply, Vendor, running_vendor
from tests.alerts.rig import START_MS, AlertRig

CRM = {"type": "null"}
STOPPED = {"when": "stopped", "destination": "crm", "resolve_after": "0s"}


def ops(vendor: Vendor) -> dict[str, Any]:
    return {"type": "webhook", "url": f"{vendor.url}/ops"}


async def test_a_destination_gets_an_event_when_it_fires_and_one_when_it_is_over(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(lag_events=10, lag_seconds=1000)
    alert = {
        "when": "lag > 15m",
        "destination": "crm",
        "to": ["ops"],
        "note": "see the runbook",
        "resolve_after": "0s",
    }
    async with running_vendor() as vendor:
        async with rig.started(rig.config({"slow": alert}, crm=CRM, ops=ops(vendor))):
            await rig.until(lambda: len(vendor.requests) == 1)
            rig.say(lag_events=0, lag_seconds=0)
            await rig.wait(60)
            await rig.until(lambda: len(vendor.requests) == 2)
            await rig.wait(60)
        fired, over = (request.json for request in vendor.requests)
    host = fired["properties"].pop("host")
    assert fired["type"] == "track"
    assert fired["event"] == "Alert Fired"
    assert fired["anonymousId"] == "cdpd"
    assert fired["timestamp"] == "2023-11-14T22:15:00.000Z"
    assert fired["properties"] == {
        "alert": "slow",
        "status": "fired",
        "kind": "lag",
        "destination": "crm",
        "when": "lag > 15m",
        "value": 1000,
        "threshold": 900,
        "unit": "seconds",
        "since": "2023-11-14T22:15:00.000Z",
        "text": f"[cdpd {host}] FIRING slow: lag of crm: 16 min behind, 10 events (alert at > 15 min)",
        "hint": "`cdpd status` shows whether it is held up, and by what; nothing is lost, its events wait in the "
        "archive",
        "note": "see the runbook",
    }
    assert over["event"] == "Alert Resolved"
    assert over["properties"]["since"] == "2023-11-14T22:15:00.000Z"
    assert over["properties"]["text"] == (
        f"[cdpd {host}] RESOLVED slow: lag of crm after 10 s: 0 s behind, 0 events (alert at > 15 min)"
    )
    assert fired["messageId"] == f"cdpd-alert-slow-crm-{START_MS}-fired"
    assert over["messageId"] == f"cdpd-alert-slow-crm-{START_MS}-resolved"


async def test_a_webhook_gets_a_text_for_chats_and_fields_for_programs(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="stopped")
    async with running_vendor() as vendor:
        url = f"{vendor.url}/services/T0/B0/c0ffee"
        async with rig.started(rig.config({"down": {**STOPPED, "webhook": url}}, crm=CRM)):
            await rig.until(lambda: vendor.requests)
        (request,) = vendor.requests
    assert request.path == "/services/T0/B0/c0ffee"
    assert request.headers["Content-Type"] == "application/json"
    told = request.json
    assert told["text"].endswith("FIRING down: state of crm: stopped")
    assert (told["event"], told["alert"], told["destination"]) == ("Alert Fired", "down", "crm")
    assert "c0ffee" not in (tmp_path / "state.db").read_bytes().decode("latin-1")
    assert "c0ffee" not in json.dumps(rig.told)


async def test_it_is_tried_until_it_is_delivered_in_order_and_once(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="stopped")
    async with running_vendor() as vendor:
        vendor.otherwise = Reply(503)
        config = rig.config({"down": {**STOPPED, "to": ["ops"]}}, crm=CRM, ops=ops(vendor))
        async with rig.started(config):
            await rig.until(lambda: vendor.requests)
            rig.say(state="running")
            await rig.wait(60)
            (unsent,) = rig.alerts.report.brief()["unsent"]
            assert unsent["channel"] == "to ops"
            assert unsent["messages"] == 2
            assert unsent["problem"].startswith("it answered 503 Service Unavailable")
            assert rig.metrics.get(names.ALERTS_UNSENT) == 2
            assert vendor.took == []
            vendor.otherwise = Reply(200)
            await rig.wait(600)
            await rig.until(lambda: not rig.alerts.report.brief()["unsent"])
            assert rig.metrics.get(names.ALERTS_UNSENT) == 0
        assert [taken.rpartition("-")[2] for taken in vendor.took] == ["fired", "resolved"]


async def test_a_restart_neither_loses_nor_doubles_a_message(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="stopped")
    async with running_vendor() as vendor:
        vendor.otherwise = Reply(500)
        config = rig.config({"down": {**STOPPED, "to": ["ops"]}}, crm=CRM, ops=ops(vendor))
        async with rig.started(config):
            await rig.until(lambda: vendor.requests)
        vendor.otherwise = Reply(200)
        async with rig.started(config):
            await rig.until(lambda: vendor.took)
            await rig.until(lambda: not rig.alerts.report.brief()["unsent"])
        async with rig.started(config):
            await rig.wait(300)
        assert len(vendor.took) == 1
        assert len(set(vendor.got)) == 1


async def test_one_channel_does_not_wait_for_another(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="stopped")
    async with running_vendor() as dead, running_vendor() as alive:
        dead.otherwise = Reply(instead="hang")
        alert = {**STOPPED, "to": ["ops"], "webhook": f"{alive.url}/hook"}
        async with rig.started(rig.config({"down": alert}, crm=CRM, ops=ops(dead))):
            await rig.until(lambda: alive.requests and dead.requests)


async def test_a_reload_tries_at_once_by_the_new_configuration(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="stopped")
    async with running_vendor() as wrong, running_vendor() as right:
        wrong.otherwise = Reply(404)
        alert = {**STOPPED, "webhook": f"{wrong.url}/typo"}
        async with rig.started(rig.config({"down": alert}, crm=CRM)):
            await rig.until(lambda: rig.alerts.report.brief()["unsent"][0]["problem"])
            rig.alerts.apply(rig.config({"down": {**alert, "webhook": f"{right.url}/hook"}}, crm=CRM))
            await rig.until(lambda: right.requests)


async def test_what_can_never_be_delivered_is_given_up_and_said(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="stopped")

    class Pages(Destination):
        name = "Pages"
        supports = frozenset({"page"})

    rig.kinds["pages"] = Pages
    config = rig.config({"down": {**STOPPED, "to": ["site"]}}, crm=CRM, site={"type": "pages"})
    async with rig.started(config):
        await rig.until(lambda: any("given up" in entry["event"] for entry in rig.told))
    (told,) = [entry for entry in rig.told if "given up" in entry["event"]]
    assert told["problem"] == "it takes no track events, and an alert is one"
    assert told["channel"] == "to site"


async def test_a_destination_of_a_stranger_that_fails_is_tried_again(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="stopped")
    lives: list[str] = []

    class Moody(Destination):
        name = "Moody"

        async def start(self) -> None:
            lives.append("start")
            if len(lives) == 1:
                raise RuntimeError("not today")

        async def stop(self) -> None:
            lives.append("stop")

        async def deliver(self, batch: Batch) -> Sequence[Outcome]:
            if len(lives) == 2:
                raise ValueError("nor now")
            lives.append(batch.events[0]["event"])
            return [Delivered()]

    rig.kinds["moody"] = Moody
    config = rig.config({"down": {**STOPPED, "to": ["m"]}}, crm=CRM, m={"type": "moody"})
    async with rig.started(config):
        await rig.wait(60)
        await rig.until(lambda: "Alert Fired" in lives)
    assert lives == ["start", "start", "stop", "start", "Alert Fired", "stop"]


async def test_a_thing_that_is_no_longer_watched_is_told_to_be_over(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="stopped")
    async with running_vendor() as vendor:
        alert = {"when": "stopped", "to": ["ops"]}
        async with rig.started(rig.config({"down": alert}, crm=CRM, ops=ops(vendor))):
            await rig.until(lambda: vendor.requests)
            rig.alerts.apply(rig.config({"down": alert}, ops=ops(vendor)))
            await rig.look()
            await rig.until(lambda: len(vendor.requests) == 2)
            assert rig.firing == []
        text = vendor.requests[1].json["properties"]["text"]
        assert text.endswith("state of crm: it is not watched any more, the configuration has changed")


async def test_a_test_message_shows_what_each_channel_answers(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say()
    async with running_vendor() as vendor, running_vendor() as slack:
        slack.otherwise = Reply(403, body=b"invalid_token")
        alert = {**STOPPED, "to": ["ops"], "webhook": f"{slack.url}/hook"}
        async with rig.started(rig.config({"down": alert}, crm=CRM, ops=ops(vendor))):
            (first, ok, _), (second, bad, _) = await rig.alerts.test("down")
            assert (first, ok.result, ok.status) == ("to ops", "delivered", 200)
            assert (second, bad.result, bad.status, bad.answer) == (
                "webhook of down",
                "again",
                403,
                "invalid_token",
            )
            assert rig.alerts.report.brief()["unsent"] == []
        assert vendor.requests[0].json["event"] == "Alert Test"
        assert "nothing is wrong" in slack.requests[0].json["text"]


async def test_news_that_is_too_old_is_given_up(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="stopped")
    async with running_vendor() as vendor:
        vendor.otherwise = Reply(500)
        config = rig.config({"down": {**STOPPED, "to": ["ops"]}}, crm=CRM, ops=ops(vendor))
        async with rig.started(config):
            await rig.until(lambda: vendor.requests)
        await rig.clock.advance(8 * 86400)
        async with rig.started(config):
            await rig.until(lambda: any("given up" in entry["event"] for entry in rig.told))
            await rig.until(lambda: not rig.alerts.report.brief()["unsent"])
            assert rig.firing == ["down of crm"]


async def test_where_too_many_wait_the_oldest_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_WAITING", 3)
    rig = AlertRig(tmp_path)
    rig.say(state="running")
    async with running_vendor() as vendor:
        vendor.otherwise = Reply(500)
        async with rig.started(rig.config({"down": {**STOPPED, "to": ["ops"]}}, crm=CRM, ops=ops(vendor))):
            for state in ("stopped", "running", "stopped", "running", "stopped"):
                rig.say(state=state)
                await rig.look()
            await rig.wait(60)
            await rig.until(lambda: rig.alerts.report.brief()["unsent"][0]["messages"] == 3)
            vendor.otherwise = Reply(200)
            await rig.wait(600)
            await rig.until(lambda: not rig.alerts.report.brief()["unsent"])
        assert [taken.rpartition("-")[2] for taken in vendor.took] == ["fired", "resolved", "fired"]
