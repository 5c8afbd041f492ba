"""Alerts in a running daemon, in one process and in several; `cdpd alerts` and `cdpd status` on it."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import anyio
import pytest

from cdpd.testing import Reply, Vendor, running_vendor
from tests.running import RunningDaemon, key_header, roles, running
from tests.until import until

CONFIG = """
[sources.website]
write_keys = ["wk_1"]
[destinations.crm]
type = "webhook"
url = "{crm}/events"
[destinations.ops]
type = "webhook"
url = "{ops}/ops"
sources = []
[alerts.refused]
when = "newly_parked >= 3"
destination = "crm"
to = ["ops"]
[alerts.busy]
when = "volume > 3"
webhook = "{ops}/hook/t0ken"
[alerts.full]
when = "disk_full"
"""
GROUPS = ([], [["ingest"], ["process"], ["deliver"]])


async def cdpd(daemon: RunningDaemon, *arguments: str) -> tuple[int, str, str]:
    done = await anyio.run_process(daemon.command(*arguments), check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def events(vendor: Vendor, path: str) -> list[str]:
    return [f"{r.json['event']}" for r in vendor.requests if r.path.startswith(path)]


@pytest.mark.parametrize("groups", GROUPS, ids=["one process", "several"])
async def test_what_happens_in_any_process_fires_and_is_told(tmp_path: Path, groups: list[list[str]]) -> None:
    async with running_vendor() as crm, running_vendor() as ops:
        crm.otherwise = Reply(400)
        config = roles(groups) + CONFIG.format(crm=crm.url, ops=ops.url)
        async with running(tmp_path / "daemon", config) as daemon:
            code, said, _ = await cdpd(daemon, "alerts", "ls")
            assert code == 0
            assert "busy     website  well     -      volume > 3" in said
            async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:
                for i in range(4):
                    body = {"type": "track", "event": "E", "userId": "u", "messageId": f"m{i}"}
                    async with client.post(f"{daemon.url}/v1/track", json=body) as answer:
                        assert answer.status == 200
            await until(lambda: events(ops, "/ops") == ["Alert Fired"])
            await until(lambda: events(ops, "/hook") == ["Alert Fired"])
            _, said, _ = await cdpd(daemon, "status")
            assert "ALERTS  2 firing" in said
            assert "refused of crm: for" in said
            _, said, _ = await cdpd(daemon, "alerts", "ls", "--json")
            told = {one["alert"]: one for one in json.loads(said)["alerts"]}
            assert told["refused"]["state"] == told["busy"]["state"] == "firing"
            assert told["full"]["state"] == "well"
            assert told["refused"]["now"] == "4 events parked in 1 h"
            await daemon.kill()
            await daemon.start()
            _, said, _ = await cdpd(daemon, "status", "--json")
            assert {one["alert"] for one in json.loads(said)["alerts"]["firing"]} == {"busy", "refused"}
            assert events(ops, "/ops") == events(ops, "/hook") == ["Alert Fired"]
            assert "t0ken" not in daemon.log()


async def test_a_test_message_from_the_command_line(tmp_path: Path) -> None:
    async with (
        running_vendor() as ops,
        running(tmp_path / "daemon", CONFIG.format(crm=ops.url, ops=ops.url)) as daemon,
    ):
        code, said, _ = await cdpd(daemon, "alerts", "test", "refused")
        assert code == 0
        assert said.startswith("to ops: delivered (200) in ")
        assert events(ops, "/ops") == ["Alert Test"]
        ops.otherwise = Reply(403, body=b"no_service")
        code, said, _ = await cdpd(daemon, "alerts", "test", "busy")
        assert code == 1
        assert "webhook of busy: not now in " in said
        assert "403" in said
        assert "no_service" in said
        assert "t0ken" not in said
        code, said, _ = await cdpd(daemon, "alerts", "test", "full")
        assert "full is told to nobody: add to" in said
        code, _, wrong = await cdpd(daemon, "alerts", "test", "bussy")
        assert code == 1
        assert wrong.endswith('in the configuration that runs; did you mean "busy"?\n')
