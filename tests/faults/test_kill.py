"""`kill -9` at random moments under load: what was acknowledged is there, once, and nowhere twice.

Of a daemon in several processes, also of one of them: it comes again by itself, and the clients need not notice.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import pytest

from cdpd.control.client import ControlClient
from tests.running import PATIENCE, RunningDaemon, key_header, roles, running

ROUNDS = int(os.environ.get("CDPD_KILL_ROUNDS", "6"))
"""How often the daemon is killed; more by hand: CDPD_KILL_ROUNDS=200."""
CLIENTS = 8
SEVERAL = [["ingest"], ["process"], ["deliver"]]
CONFIG = """
[sources.website]
write_keys = ["wk_faults_kill"]

[destinations.copy]
type = "file"
path = "copy.ndjson"
from = "beginning"
"""


class Load:
    """Clients that send without ever sending again, and note what was acknowledged."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.numbers = itertools.count()
        self.acknowledged: set[str] = set()
        self.attempted: set[str] = set()
        self.bad: set[str] = set()

    def event(self) -> dict[str, Any]:
        number = next(self.numbers)
        event: dict[str, Any] = {
            "type": "track",
            "event": "Load",
            "messageId": f"m{number}",
            "userId": f"u{number % 17}",
        }
        if number % 11 == 0:
            del event["userId"]  # discarded: no_user_anon_id
            self.bad.add(event["messageId"])
        event["properties"] = {"filler": "x" * self.random.randrange(400), "number": number}
        return event

    async def client(self, url: str, enough: int) -> None:
        """Send until `enough` events were acknowledged in all, or the daemon is gone."""
        async with aiohttp.ClientSession(headers=key_header("wk_faults_kill")) as session:
            while len(self.acknowledged) < enough:
                events = [self.event() for _ in range(self.random.choice((1, 1, 3, 40)))]
                ids = {event["messageId"] for event in events}
                self.attempted |= ids
                path, body = (
                    ("/v1/track", events[0]) if len(events) == 1 else ("/v1/batch", {"batch": events})
                )
                try:
                    async with session.post(url + path, data=json.dumps(body)) as answer:
                        assert answer.status == 200
                        await answer.read()
                except aiohttp.ClientError:
                    return
                self.acknowledged |= ids

    async def clients_until(self, url: str, enough: int) -> None:
        """Clients, one after the other, as connections break, until `enough` events were acknowledged in all."""
        while len(self.acknowledged) < enough:
            await self.client(url, enough)

    async def clients_without_end(self, url: str) -> None:
        await self.clients_until(url, 1 << 62)


async def kill_all(daemon: RunningDaemon, load: Load) -> None:
    """The daemon, with all its processes, under load; then it is started again."""
    enough = len(load.acknowledged) + load.random.randrange(1, 1500)
    async with anyio.create_task_group() as clients:
        for _ in range(CLIENTS - 1):
            clients.start_soon(load.client, daemon.url, enough + 10_000)
        await load.client(daemon.url, enough)
        await daemon.kill()
    await daemon.start()


async def kill_one(daemon: RunningDaemon, load: Load) -> None:
    """One process of the daemon, under load; clients go on until it runs again."""
    control = ControlClient(daemon.data / "control.sock")

    async def processes() -> dict[str, Any]:
        found = (await anyio.to_thread.run_sync(control.status))["processes"]
        assert isinstance(found, dict)
        return found

    enough = len(load.acknowledged) + load.random.randrange(1, 1500)
    async with anyio.create_task_group() as clients:
        for _ in range(CLIENTS - 1):
            clients.start_soon(load.clients_without_end, daemon.url)
        await load.clients_until(daemon.url, enough)
        before = await processes()
        name = load.random.choice(list(before))
        os.kill(before[name]["pid"], signal.SIGKILL)
        with anyio.fail_after(PATIENCE):
            while True:
                now = (await processes())[name]
                if now["state"] == "running" and now["starts"] > before[name]["starts"]:
                    break
                await anyio.sleep(load.random.random() / 10)
        await load.clients_until(daemon.url, len(load.acknowledged) + 50)
        clients.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("groups", "kill"),
    [
        ([], kill_all),
        (SEVERAL, kill_all),
        (SEVERAL, kill_one),
        ([["ingest"], ["process", "deliver"]], kill_one),
    ],
    ids=["one process", "several, with their parent", "one of three", "one of two"],
)
async def test_what_was_acknowledged_survives_and_nothing_is_stored_twice(
    tmp_path: Path, groups: list[list[str]], kill: Callable[[RunningDaemon, Load], Awaitable[None]]
) -> None:
    seed = random.randrange(1 << 32)
    load = Load(seed)
    async with running(tmp_path, CONFIG + roles(groups)) as daemon:
        for _ in range(ROUNDS):
            await kill(daemon, load)
        good, bad = load.acknowledged - load.bad, load.acknowledged & load.bad
        await daemon.wait_for("events", lambda lines: good <= {line["messageId"] for line in lines})
        await daemon.wait_for("discarded", lambda lines: bad <= {line["line"]["messageId"] for line in lines})
        received = Counter(line["messageId"] for line in daemon.lines("received"))
        events = Counter(line["messageId"] for line in daemon.lines("events"))
        discarded = Counter(line["line"]["messageId"] for line in daemon.lines("discarded"))
        assert await daemon.stop() == 0
    told = f"seed {seed}"
    assert load.acknowledged <= set(received), told
    assert set(received) <= load.attempted, told
    assert not [i for i, n in received.items() if n > 1], told
    assert not [i for i, n in (events + discarded).items() if n > 1], told
    assert set(events) == set(received) - load.bad, told
    assert set(discarded) == set(received) & load.bad, told
    copied = [json.loads(line) for line in (tmp_path / "copy.ndjson").read_bytes().splitlines()]
    assert {event["messageId"] for event in copied} == set(events), told
