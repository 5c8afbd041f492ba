"""`kill -9` of the real daemon while it delivers to a webhook that now and then fails."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import aiohttp
import anyio

from tests.delivery.vendor import Reply, vendor
from tests.running import PATIENCE, RunningDaemon, key_header, running

CONFIG = """
[sources.website]
write_keys = ["wk_delivery_kill"]

[destinations.hook]
type = "webhook"
url = "{url}"
mode = "batch"
from = "beginning"
batch = {{ max_events = 20 }}
"""
ROUNDS = 6
USERS = 7
MOST_TWICE = 4 * 20
"""Batches in flight at once, and their size: what a kill may double."""


async def load(daemon: RunningDaemon, first: int, count: int) -> None:
    """Events of a few users, each user's in order."""
    async with aiohttp.ClientSession(headers=key_header("wk_delivery_kill")) as session:
        for begin in range(first, first + count, 25):
            batch = [
                {"type": "track", "event": "Load", "messageId": f"m{n}", "userId": f"u{n % USERS}"}
                for n in range(begin, begin + 25)
            ]
            async with session.post(f"{daemon.url}/v1/batch", data=json.dumps({"batch": batch})) as answer:
                assert answer.status == 200


async def test_every_event_arrives_in_its_users_order_and_a_kill_doubles_no_more_than_what_is_in_flight(
    tmp_path: Path,
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    async with vendor() as it, running(tmp_path, CONFIG.format(url=it.url)) as daemon:
        for i in range(ROUNDS):
            it.replies(*(Reply(chance.choice([200, 200, 200, 503])) for _ in range(10)))
            await load(daemon, i * 500, 500)
            enough = len(it.requests) + chance.randrange(1, 12)
            with anyio.move_on_after(0.5):
                while len(it.requests) < enough:  # noqa: ASYNC110 - the daemon is another process
                    await anyio.sleep(0.001)
            await daemon.kill()
            await daemon.start()
        total = ROUNDS * 500
        with anyio.fail_after(PATIENCE):
            while len(set(it.took)) < total:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        async with aiohttp.ClientSession() as session, session.get(f"{daemon.url}/health/live") as answer:
            assert answer.status == 200  # it may only just have started: it serves now
        assert await daemon.stop() == 0
    told = f"seed {seed}"
    assert set(it.took) == {f"m{n}" for n in range(total)}, told
    twice = [message for message, n in Counter(it.took).items() if n > 1]
    assert len(twice) <= ROUNDS * MOST_TWICE, told
    for user in range(USERS):
        firsts = [n for n in (int(m[1:]) for m in dict.fromkeys(it.took)) if n % USERS == user]
        assert firsts == sorted(firsts), told
