"""Clients that behave as SDKs do: what is not acknowledged is sent again, with the same messageIds."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any, Final

import aiohttp
import anyio

from tests.faults.account import Sent
from tests.faults.receiver import seal
from tests.running import PATIENCE, RunningDaemon, key_header

KEY: Final = "wk_faults"
USERS: Final = 13
CLIENTS: Final = 4
_AGAIN: Final = 0.05
"""Seconds until a client sends again what was not acknowledged."""
BAD_FOR_PIPELINE: Final = 11
"""Each so-many-th event has no user: the pipeline discards it."""
BAD_FOR_VENDOR: Final = 17
"""Each so-many-th has a property that the receiver may refuse."""


class Load:
    """All clients of a run, and their notes."""

    def __init__(self, daemon: RunningDaemon, random: Random) -> None:
        self.notes = Sent()
        self.answers: dict[int, int] = {}
        """Status → how many requests were answered so."""
        self.disk_is_gone = False
        """An append that was refused may come back after a power loss, where the disk refused to cut it back too (so
        says `Stream.append`): while this holds, an error counts as no answer."""
        self.filler = 60
        """Characters of filler in an event, at most."""
        self._daemon = daemon
        self._random = random
        self._next = 0

    def discarded(self, message_id: str) -> bool:
        """Whether the pipeline is to discard it."""
        return int(message_id[1:]) % BAD_FOR_PIPELINE == 0

    def bad(self, message_id: str) -> bool:
        """Whether the receiver refuses it, where it refuses."""
        return int(message_id[1:]) % BAD_FOR_VENDOR == 0 and not self.discarded(message_id)

    @property
    def good(self) -> set[str]:
        """Acknowledged ids that are to reach destinations."""
        return {one for one in self.notes.acknowledged if not self.discarded(one)}

    def event(self) -> dict[str, Any]:
        self._next += 1
        message_id = f"m{self._next}"
        filler = "".join(
            self._random.choices(
                "abcdefghijklmnopqrstuvwxyz0123456789", k=self._random.randrange(self.filler)
            )
        )
        event: dict[str, Any] = {
            "type": "track",
            "event": "Fault",
            "messageId": message_id,
            "properties": {"filler": filler, "seal": seal(message_id, filler)},
        }
        if not self.discarded(message_id):
            event["userId"] = f"u{self._next % USERS}"
        if self.bad(message_id):
            event["properties"]["bad"] = True
        return event

    async def send(self, count: int, *, patience: float = PATIENCE) -> None:
        """So many events, by several clients at once, until all are acknowledged. Raises TimeoutError."""
        begin = self._next
        with anyio.fail_after(patience):
            async with anyio.create_task_group() as clients:
                for _ in range(CLIENTS):
                    clients.start_soon(self._client, begin + count)

    async def send_until_cancelled(self) -> None:
        """Without end; what is not acknowledged when it is cancelled stays so, unless it is sent again."""
        async with anyio.create_task_group() as clients:
            for _ in range(CLIENTS):
                clients.start_soon(self._client, 1 << 62)

    async def _client(self, until: int) -> None:
        async with aiohttp.ClientSession(
            headers=key_header(KEY), timeout=aiohttp.ClientTimeout(total=PATIENCE)
        ) as session:
            while self._next < until:
                count = min(self._random.choice((1, 1, 4, 20)), until - self._next)
                events = [self.event() for _ in range(count)]
                # One user's events go in order from one client only: each batch is acknowledged before the next.
                while not await self._request(session, events):  # noqa: ASYNC110 - as SDKs do
                    await anyio.sleep(_AGAIN)

    async def _request(self, session: aiohttp.ClientSession, events: list[dict[str, Any]]) -> bool:
        ids = [event["messageId"] for event in events]
        self.notes.attempted.update(ids)
        path, document = ("/v1/track", events[0]) if len(events) == 1 else ("/v1/batch", {"batch": events})
        try:
            async with session.post(self._daemon.url + path, data=json.dumps(document)) as answer:
                await answer.read()
        except aiohttp.ClientConnectorError:
            return False  # not even connected: nothing was sent
        except (aiohttp.ClientError, TimeoutError):
            self.notes.unanswered.update(ids)
            return False
        except asyncio.CancelledError:
            self.notes.unanswered.update(ids)
            raise
        self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
        if answer.status == 200:
            self.notes.acknowledged.update(ids)
        elif self.disk_is_gone:
            self.notes.unanswered.update(ids)
        return answer.status == 200
