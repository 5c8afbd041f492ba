"""`cdpd parked`, `pause`, `resume` and `destinations ls` with a running daemon, in one process and in several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from cdpd.config.data_folder import state_db
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.parked import ParkedFilter, counts, reading
from cdpd.delivery.state import Moment, ParkedEvent, StateDb
from cdpd.event import Position
from tests.delivery.vendor import Reply, vendor
from tests.running import RunningDaemon, key_header, running
from tests.until import until

from .conftest import Cdpd

CONFIG = """
[sources.website]
write_keys = ["wk_1"]
[destinations.crm]
type = "webhook"
url = "{}"
mode = "single"
headers = {{ Authorization = "Bearer a-secret-of-the-crm" }}
"""
ROLES = '[process]\nroles = [["ingest"], ["process", "deliver"]]\n'
REFUSED = Reply(422, {}, b'{"error": "unknown plan", "sent": "Bearer a-secret-of-the-crm"}')


async def cdpd(daemon: RunningDaemon, *arguments: str) -> tuple[int, str, str]:
    done = await anyio.run_process(daemon.command(*arguments), check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def listed(daemon: RunningDaemon, *arguments: str) -> list[dict[str, Any]]:
    code, said, wrong = await cdpd(daemon, "parked", "ls", "--events", "--json", *arguments)
    assert (code, wrong) == (0, "")
    return [json.loads(line) for line in said.splitlines()]


def parked(daemon: RunningDaemon) -> int:
    with reading(state_db(daemon.data)) as db:
        return sum(counts(db, ParkedFilter()).values()) if db is not None else 0


async def send(daemon: RunningDaemon, *events: str) -> None:
    async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:
        for i, name in enumerate(events):
            body = {"type": "track", "event": name, "userId": "u1", "messageId": f"m{i}-{name}"}
            async with client.post(f"{daemon.url}/v1/track", json=body) as answer:
                assert answer.status == 200


@pytest.mark.parametrize("roles", ["", ROLES], ids=["one process", "several"])
async def test_the_life_of_parked_events(tmp_path: Path, roles: str) -> None:
    async with vendor() as crm, running(tmp_path / "daemon", roles + CONFIG.format(crm.url)) as daemon:
        crm.otherwise = REFUSED
        await send(daemon, "Paid", "Left", "Paid")
        await until(lambda: parked(daemon) == 3)
        code, said, wrong = await cdpd(daemon, "parked", "ls")
        assert (code, wrong) == (0, "")
        header, _, row = said.splitlines()
        assert header.split() == ["destination", "events", "status", "first", "last", "reason"]
        assert row.split()[:3] == ["crm", "3", "422"]
        assert "unknown plan" in row

        code, said, _ = await cdpd(daemon, "parked", "show", "1")
        assert code == 0
        assert "parked  1, for crm\n" in said
        assert "event   Paid, from website, messageId m0-Paid\n" in said
        assert "cdpd log cat events --from 0 --to 1\n" in said
        assert '\n  "event": "Paid"' in said.replace("\n    ", "\n  ")
        assert "a-secret-of-the-crm" not in said
        code, said, _ = await cdpd(daemon, "parked", "show", "2", "--json")
        assert json.loads(said)["line"]["event"] == "Left"
        code, said, wrong = await cdpd(daemon, "parked", "show", "7")
        assert (code, said) == (1, "")
        assert wrong.startswith("cdpd: no event is parked with the id 7")

        assert await cdpd(daemon, "parked", "retry", "--event", "Paid", "--dry-run") == (
            0, "crm: 2 parked events would be sent again\n", "",
        )  # fmt: skip
        for verb, done in (("retry", "sent again"), ("drop", "dropped")):
            assert await cdpd(daemon, "parked", verb, "2", "77", "--dry-run") == (
                0,
                f"crm: 1 parked event would be {done}\n",
                "one of these ids is not parked, or not like this: sent, dropped, or never there\n",
            )
        crm.replies(200)
        code, said, wrong = await cdpd(daemon, "parked", "retry", "--event", "Paid")
        assert (code, said) == (1, "crm: 1 delivered, 1 refused again\n")
        assert "cdpd parked ls --destination crm" in wrong
        assert [(one["event"], one["refused"]) for one in await listed(daemon)] == [("Left", 1), ("Paid", 2)]

        crm.otherwise = Reply()
        code, said, _ = await cdpd(daemon, "parked", "retry", "--event", "Paid", "--json")
        (job,) = json.loads(said)["jobs"]
        assert (code, job["state"], job["delivered"]) == (0, "done", 1)

        code, said, wrong = await cdpd(daemon, "parked", "drop")
        assert (code, said) == (2, "")
        assert "say which ones" in wrong
        dropped = await cdpd(daemon, "parked", "drop", "--status", "422", "--dry-run")
        assert dropped == (0, "crm: 1 parked event would be dropped\n", "")
        assert await cdpd(daemon, "parked", "drop", "--status", "422") == (
            0,
            "crm: 1 parked event dropped\n",
            "",
        )
        assert await cdpd(daemon, "parked", "ls") == (0, "no event is parked, or none like this\n", "")
        assert "parked events were dropped" in daemon.log()


@pytest.mark.parametrize("roles", ["", ROLES], ids=["one process", "several"])
async def test_a_pause_outlasts_kills_and_renames_and_nothing_is_lost(tmp_path: Path, roles: str) -> None:
    async with vendor() as crm, running(tmp_path / "daemon", roles + CONFIG.format(crm.url)) as daemon:
        await send(daemon, "One")
        await until(lambda: crm.took == ["m0-One"])
        code, said, _ = await cdpd(daemon, "pause", "crm", "--reason", "their maintenance")
        assert (code, said.partition(",")[0]) == (0, "crm is paused")
        await send(daemon, "Two")
        await daemon.kill()
        await daemon.start()
        await send(daemon, "Three")
        daemon.config.write_text(
            daemon.config.read_text().replace("[destinations.crm]", '[destinations.sales]\nwas = "crm"')
        )
        assert (await cdpd(daemon, "reload"))[0] == 0
        code, said, _ = await cdpd(daemon, "destinations", "ls", "--json")
        (name, one), *others = json.loads(said)["destinations"].items()
        assert (name, one["state"], one["type"], others) == ("sales", "paused by hand", "webhook", [])
        code, said, _ = await cdpd(daemon, "status")
        assert "paused by hand" in said
        assert "their maintenance" in said
        assert crm.took == ["m0-One"]

        code, said, wrong = await cdpd(daemon, "resume", "crm")
        assert (code, wrong) == (1, "cdpd: there is no destination 'crm'; there are: sales\n")
        code, said, _ = await cdpd(daemon, "resume", "sales")
        assert said.startswith("sales goes on at offset 1 of events")
        await until(lambda: len(crm.took) == 3)
        assert await cdpd(daemon, "resume", "--all") == (0, "no destination is paused by hand\n", "")
        assert crm.took == ["m0-One", "m0-Two", "m0-Three"]

        code, said, _ = await cdpd(daemon, "destinations", "ls")
        assert said.splitlines()[2].split()[:3] == ["sales", "webhook", "running"]
        code, _, wrong = await cdpd(daemon, "destinations", "forget", "sales")
        assert (code, "sales is configured" in wrong) == (1, True)


async def state_of(folder: Path, count: int, reason: str = "no") -> None:
    await anyio.Path(folder).mkdir()
    state = StateDb(folder / "state.db")
    events = [
        ParkedEvent(
            Position(n, 7), f"m{n}", b"\x1b[31m no event", f"{reason} \x1b[2J", None, "", "", 5, "web", "Paid"
        )
        for n in range(count)
    ]
    await state.commit(Moment("d", DeliveryCursor(Position(count, 7)), 5, events))
    state.close()


async def test_listing_and_showing_need_no_daemon_and_nothing_steers_the_terminal(
    cdpd: Cdpd, tmp_path: Path
) -> None:
    await state_of(tmp_path / "data", 2)
    for arguments in (("ls",), ("ls", "--events"), ("show", "1")):
        ran = cdpd("parked", *arguments, "--data-dir", tmp_path / "data")
        assert (ran.code, ran.err) == (0, "")
        assert "\x1b" not in ran.out
        assert "\\x1b[2J" in ran.out
    ran = cdpd("parked", "show", "1", "--json", "--data-dir", tmp_path / "data")
    assert ran.json["line"] == "\x1b[31m no event"
    assert cdpd("parked", "drop", "1", "--data-dir", tmp_path / "data").code == 3


async def test_reasons_are_bounded_where_every_event_has_its_own(
    cdpd: Cdpd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await state_of(tmp_path / "data", 3)
    monkeypatch.setattr("cdpd.cli.parked._MOST_GROUPS", 0)
    ran = cdpd("parked", "ls", "--json", "--data-dir", tmp_path / "data")
    assert ran.json == {"groups": [], "more": True}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("parked", "ls", "--from", "soon"), "'soon' is no moment: write a time"),
        (("parked", "drop", "1", "--all"), "either --all or what chooses, not both"),
        (("parked", "retry"), "say which ones, e.g. --destination NAME"),
        (("pause",), "name destinations, or --all for every destination"),
        (("resume", "a", "--all"), "either names or --all, not both"),
    ],
)
def test_what_is_not_clear_is_asked_before_anything_happens(
    cdpd: Cdpd, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = cdpd(*arguments, "--data-dir", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_folder_without_state_is_named(cdpd: Cdpd, tmp_path: Path) -> None:
    ran = cdpd("parked", "ls", "--data-dir", tmp_path)
    assert ran.code == 1
    assert f"there is no {tmp_path / 'state.db'} yet" in ran.err
