"""Alerts over real streams and a real state.db: what fires when, once, and what a restart changes (nothing)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdpd.disk import Space
from tests.alerts.rig import AlertRig

CRM = {"type": "null"}
DAY = 86_400.0


def one(**alert: Any) -> dict[str, Any]:
    return {"a": alert}


# -- success rate ------------------------------------------------------------------------------------------


async def test_a_success_rate_below_its_limit_fires_once_and_is_over_after_a_clean_window(
    tmp_path: Path,
) -> None:
    rig = AlertRig(tmp_path)
    rig.say()
    async with rig.started(rig.config(one(when="success_rate < 95%"), crm=CRM)):
        rig.deliver(95, refused=5)
        await rig.look()
        assert rig.firing == []
        assert rig.now("a", "crm") == "95 %, 5 of 100 events refused in 1 h"
        rig.deliver(0, refused=1)
        await rig.look()
        assert rig.firing == ["a of crm"]
        rig.deliver(1000)
        await rig.leap(600)
        assert rig.now("a", "crm") == "99.5 %, 6 of 1,101 events refused in 1 h"
        assert rig.firing == ["a of crm"]
        await rig.leap(3599)
        rig.deliver(1)
        await rig.look()
        assert rig.firing == []
        assert rig.turns() == ["an alert fires: a", "an alert is over: a"]
        assert rig.told[0]["level"] == "warning"
        assert rig.told[0]["destination"] == "crm"


async def test_where_nothing_was_tried_there_is_nothing_to_judge(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say()
    async with rig.started(rig.config(one(when="success_rate < 95%", at_least=10), crm=CRM)):
        await rig.look()
        assert rig.now("a", "crm") == "0 events tried in 1 h"
        rig.deliver(0, refused=9)
        await rig.look()
        assert rig.firing == []
        rig.deliver(0, refused=1)
        await rig.look()
        assert rig.firing == ["a of crm"]
        await rig.leap(DAY)
        assert rig.firing == ["a of crm"]  # nothing shows that it is well again


async def test_counts_of_deliveries_outlive_a_restart(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say()
    config = rig.config(one(when="success_rate < 95%"), crm=CRM)
    async with rig.started(config):
        rig.deliver(90, refused=4)
        await rig.look()
        rig.deliver(10)  # after the last round
    async with rig.started(config):
        assert rig.now("a", "crm") == "96.2 %, 4 of 104 events refused in 1 h"
        rig.deliver(0, refused=3)
        await rig.look()
        assert rig.firing == ["a of crm"]
    async with rig.started(config):
        assert rig.firing == ["a of crm"]
        assert rig.turns() == ["an alert fires: a"]


async def test_what_was_delivered_before_there_was_an_alert_does_not_count_as_of_now(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say()
    async with rig.started(rig.config({}, crm=CRM)):
        rig.deliver(10_000)
        await rig.leap(2 * 3600)
        rig.alerts.apply(rig.config(one(when="success_rate < 95%"), crm=CRM))
        rig.deliver(1, refused=1)
        await rig.look()
        assert rig.now("a", "crm") == "50 %, 1 of 2 events refused in 1 h"


# -- how a destination is ----------------------------------------------------------------------------------


async def test_lag_in_events_or_in_time(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(lag_events=1000, lag_seconds=900)
    alerts = {"events": {"when": "lag > 1000 events"}, "time": {"when": "lag > 15m"}}
    async with rig.started(rig.config(alerts, crm=CRM)):
        assert rig.firing == []
        rig.say(lag_events=1001)
        await rig.look()
        assert rig.firing == ["events of crm"]
        rig.say(lag_seconds=901)
        await rig.look()
        assert rig.firing == ["events of crm", "time of crm"]
        rig.say(lag_seconds=None)
        await rig.wait(600)
        assert rig.firing == ["events of crm", "time of crm"]
        rig.say(lag_seconds=0, lag_events=0)
        await rig.wait(310)
        assert rig.firing == []


async def test_how_far_behind_a_destination_is_that_does_not_run_is_read_in_the_log(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    async with rig.started(rig.config(one(when="lag > 15m"), crm=CRM)):
        await rig.archive(3)
        await rig.leap(600)
        await rig.archive(2)
        rig.say(state="paused by hand", position=3, lag_events=2, lag_seconds=None)
        await rig.leap(890)
        assert rig.now("a", "crm") == "14 min behind, 2 events"
        assert rig.firing == []
        await rig.leap(30)
        assert rig.firing == ["a of crm"]
        rig.say(position=0, lag_events=5)
        await rig.look()
        assert rig.now("a", "crm") == "25 min behind, 5 events"
        rig.say(position=5, lag_events=1)  # not there
        await rig.look()
        assert rig.now("a", "crm") == "1 event behind; how old they are cannot be told"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("running", []),
        ("retrying", ["failing"]),
        ("waiting", ["failing"]),
        ("stopped", ["failing", "stopped"]),
        ("paused", ["failing", "misconfigured", "paused"]),
        ("paused by hand", ["paused"]),
        ("starting", []),
    ],
)
async def test_the_state_of_a_destination(tmp_path: Path, state: str, words: list[str]) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state=state, problem="it answered 401 Unauthorized: jane@example.com; check the credentials")
    watched = ("failing", "misconfigured", "paused", "stopped")
    async with rig.started(rig.config({word: {"when": word} for word in watched}, crm=CRM)):
        assert rig.firing == [f"{word} of crm" for word in words]
        for word in words:
            assert rig.now(word, "crm") == f"{state}: it answered 401 Unauthorized"
    assert "jane" not in str(rig.told)


async def test_what_only_passes_does_not_fire_where_it_has_to_hold(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="retrying")
    async with rig.started(rig.config(one(when="failing", **{"for": "10m"}), crm=CRM)):
        await rig.wait(590)
        rig.say(state="running")
        await rig.look()
        rig.say(state="retrying")
        await rig.wait(600)
        assert rig.firing == []
        await rig.look()
        assert rig.firing == ["a of crm"]


async def test_a_restart_neither_resolves_what_still_fires_nor_begins_to_wait_anew(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(state="paused")
    config = rig.config(one(when="paused", **{"for": "5m"}), crm=CRM)
    async with rig.started(config):
        await rig.wait(250)
    async with rig.started(config):
        await rig.wait(50)
        assert rig.firing == ["a of crm"]
    rig.say(state="starting")
    async with rig.started(config):
        await rig.wait(400)
        assert rig.firing == ["a of crm"]
        rig.say(state="running")
        await rig.wait(200)
    async with rig.started(config):
        await rig.wait(110)
        assert rig.firing == []
    assert rig.turns() == ["an alert fires: a", "an alert is over: a"]


async def test_parked_in_all_and_newly_parked(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    rig.say(parked=100)
    alerts = {"all": {"when": "parked > 100"}, "new": {"when": "newly_parked >= 10"}}
    async with rig.started(rig.config(alerts, crm=CRM)):
        rig.deliver(0, refused=9)
        await rig.look()
        assert rig.firing == []
        rig.say(parked=109)
        rig.deliver(0, refused=1)
        await rig.look()
        assert rig.firing == ["all of crm", "new of crm"]


async def test_each_destination_fires_for_itself_and_only_those_that_are_named(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    for name in ("crm", "ads", "lake"):
        rig.say(name, state="stopped")
    alerts = {"each": {"when": "stopped"}, "some": {"when": "stopped", "destination": ["ads"]}}
    config = rig.config(alerts, crm=CRM, ads=CRM, lake={**CRM, "enabled": False})
    async with rig.started(config):
        assert rig.firing == ["each of crm", "each of ads", "some of ads"]
        rig.alerts.apply(rig.config(alerts, ads=CRM))
        await rig.look()
        assert rig.firing == ["each of ads", "some of ads"]
        rig.alerts.apply(rig.config({"each": alerts["each"]}, ads=CRM))
        await rig.look()
        assert rig.firing == ["each of ads"]


# -- sources -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("today", "fires"), [(104, False), (105, True), (96, False), (95, True), (0, True)])
async def test_the_reference_boundary_of_a_change_in_volume(tmp_path: Path, today: int, fires: bool) -> None:
    rig = AlertRig(tmp_path)
    async with rig.started(rig.config(one(when="volume_change > 4%", source="website"))):
        await rig.receive(100)
        await rig.leap(DAY)
        await rig.receive(99)
        await rig.leap(DAY - 400)
        await rig.receive(1)
        await rig.leap(400)
        await rig.receive(today)
        await rig.leap(DAY)
        sign = "+" if today >= 100 else "-"
        change = abs(today - 100)
        assert rig.now("a", "website") == f"{sign}{change} %: {today} events received in 24 h, 100 before"
        assert rig.firing == (["a of website"] if fires else [])


async def test_without_a_yesterday_there_is_no_change(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    async with rig.started(rig.config(one(when="volume_change > 4%", source="website"))):
        await rig.receive(1, source="app")
        await rig.leap(DAY)
        await rig.receive(100)
        await rig.look()
        assert rig.now("a", "website") == "counted for 24 h of 2 d"
        await rig.leap(DAY)
        assert rig.now("a", "website") == "0 events in the 24 h before"
        assert rig.firing == []


async def test_a_change_is_over_after_one_clean_window(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    async with rig.started(rig.config(one(when="volume_change > 50%", source="website", over="1h"))):
        await rig.receive(100)
        await rig.leap(3600)
        await rig.receive(10)
        await rig.leap(3600)
        assert rig.firing == ["a of website"]
        await rig.receive(10)
        await rig.leap(3600)  # 10 and 10: clean from now on
        assert rig.firing == ["a of website"]
        await rig.receive(10)
        await rig.leap(3590)
        assert rig.firing == ["a of website"]
        await rig.leap(20)
        assert rig.firing == []


async def test_a_new_alert_has_its_past_from_the_log(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    async with rig.started(rig.config({})):
        await rig.receive(50)
        await rig.leap(3600)
        await rig.receive(200)
        await rig.leap(3600)
        await rig.receive(3)
        await rig.leap(3600)
        rig.alerts.apply(rig.config(one(when="volume_change > 50%", source="website", over="1h")))
        await rig.look()
        assert rig.now("a", "website") == "-98.5 %: 3 events received in 1 h, 200 before"
        rig.alerts.apply(rig.config(one(when="volume > 1000", source="website", over="24h")))
        await rig.look()
        assert rig.now("a", "website") == "253 events received in 24 h"


async def test_what_came_while_nobody_counted_is_counted_once(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    config = rig.config(one(when="volume > 1000", over="24h"))
    async with rig.started(config):
        await rig.receive(5)
        await rig.look()
        await rig.receive(7)  # after the last round
    async with rig.started(config):
        assert rig.now("a", "website") == "12 events received in 24 h"
        await rig.receive(1)
        await rig.look()
        assert rig.now("a", "website") == "13 events received in 24 h"


async def test_a_stream_that_is_another_one_is_counted_anew(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    config = rig.config(one(when="volume > 1000", over="24h"))
    async with rig.started(config):
        await rig.receive(5)
        await rig.look()
    for file in (tmp_path / "received").iterdir():
        file.unlink()
    async with rig.started(config):
        await rig.receive(7)
        await rig.look()
        assert rig.now("a", "website") == "7 events received in 24 h"


async def test_too_few_events_in_an_hour_that_was_watched_whole(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    config = rig.config(one(when="volume < 10", source="website"))
    async with rig.started(config):
        assert rig.now("a", "website") == "0 events received in 1 h; watched for 0 s only"
        await rig.receive(10)
        await rig.wait(3590)
        assert rig.firing == []
        await rig.leap(400)
        assert rig.firing == ["a of website"]
        await rig.receive(10)
        await rig.leap(3590)
        await rig.receive(10)
        await rig.leap(30)
        assert rig.firing == []


async def test_a_daemon_that_was_away_does_not_complain_that_nothing_came(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    config = rig.config(one(when="volume < 10", source="website"))
    async with rig.started(config):
        await rig.receive(10)
        await rig.leap(3600)
        assert rig.firing == []
    await rig.clock.advance(7200)
    async with rig.started(config):
        assert rig.firing == []
        await rig.leap(3590)
        assert rig.firing == []
        await rig.look()
        assert rig.firing == ["a of website"]


async def test_a_quick_restart_does_not_put_off_the_judgement(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    config = rig.config(one(when="volume < 10", source="website"))
    async with rig.started(config):
        await rig.leap(3000)
    await rig.clock.advance(120)
    async with rig.started(config):
        await rig.leap(480)
        assert rig.firing == ["a of website"]


async def test_the_share_that_is_discarded(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    async with rig.started(rig.config(one(when="discarded_share > 5%"))):
        await rig.receive(100)
        await rig.discard(5)
        await rig.discard(50, code="duplicate")
        await rig.look()
        assert rig.now("a", "website") == "5 %, 5 of 100 events discarded in 1 h"
        assert rig.now("a", "app") == "0 events received in 1 h"
        assert rig.firing == []
        await rig.discard(1)
        await rig.look()
        assert rig.firing == ["a of website"]


# -- the disk ----------------------------------------------------------------------------------------------


async def test_the_disk(tmp_path: Path) -> None:
    rig = AlertRig(tmp_path)
    alerts = {
        "bytes": {"when": "disk_free < 10GiB"},
        "part": {"when": "disk_free < 5%"},
        "full": {"when": "disk_full"},
    }
    async with rig.started(rig.config(alerts)):
        rig.space = Space(10 << 30, 200 << 30)
        await rig.look()
        assert rig.firing == []
        assert rig.now("part") == "5 % free, 10.0 GiB"
        rig.space = Space((10 << 30) - 1, 200 << 30)
        await rig.look()
        assert rig.firing == ["bytes", "part"]
        rig.space = Space(100 << 20, 200 << 30)
        await rig.look()
        assert rig.firing == ["bytes", "part", "full"]
        assert rig.now("full") == "100.0 MiB free, and 256.0 MiB are to stay free"


# -- in all ------------------------------------------------------------------------------------------------


async def test_what_fires_is_a_metric(tmp_path: Path) -> None:
    from cdpd import metrics as names

    rig = AlertRig(tmp_path)
    rig.say("crm", state="stopped")
    rig.say("ads", state="stopped")
    async with rig.started(rig.config(one(when="stopped"), crm=CRM, ads=CRM)):
        assert rig.metrics.get(names.ALERTS_FIRING, "a") == 2
        rig.alerts.apply(rig.config({}, crm=CRM, ads=CRM))
        await rig.look()
        assert rig.metrics.get(names.ALERTS_FIRING, "a") == 0


async def test_state_db_that_cannot_be_written_holds_nothing_up_and_tells_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdpd.alerts.store import Store
    from cdpd.delivery.state import StateError

    rig = AlertRig(tmp_path)
    rig.say(state="running")

    async def full(*_: object) -> None:
        raise StateError("the disk is full")

    async with rig.started(rig.config(one(when="stopped"), crm=CRM)):
        with monkeypatch.context() as broken:
            broken.setattr(Store, "keep", full)
            rig.say(state="stopped")
            await rig.wait(30)
            assert rig.firing == []
            assert rig.alerts.report.brief()["problem"] == "the disk is full"
        await rig.look()
        assert rig.firing == ["a of crm"]
        assert rig.turns() == ["an alert fires: a"]
        assert sum("cannot be stored" in entry["event"] for entry in rig.told) == 1
