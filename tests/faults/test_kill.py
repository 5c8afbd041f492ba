"""`kill -9` at random moments under load: what was acknowledged is there, once, and nowhere twice."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import anyio

from tests.running import RunningDaemon, key_header, running

ROUNDS = int(os.environ.get("CDPD_KILL_ROUNDS", "6"))
"""How often the daemon is killed; more by hand: CDPD_KILL_ROUNDS=200."""
CLIENTS = 8
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


async def one_round(daemon: RunningDaemon, load: Load) -> None:
    enough = len(load.acknowledged) + load.random.randrange(1, 1500)
    async with anyio.create_task_group() as clients:
        for _ in range(CLIENTS - 1):
            clients.start_soon(load.client, daemon.url, enough + 10_000)
        await load.client(daemon.url, enough)
        await daemon.kill()
    await daemon.start()


async def test_what_was_acknowledged_survives_and_nothing_is_stored_twice(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    load = Load(seed)
    async with running(tmp_path, CONFIG) as daemon:
        for _ in range(ROUNDS):
            await one_round(daemon, load)
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
