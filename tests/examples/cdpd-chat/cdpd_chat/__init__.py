"""Tells a chat channel of events: an example of a third-party destination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from cdpd.destinations.answers import outcome_of
from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationConfig
from cdpd.destinations.exchange import send
from cdpd.destinations.outcome import Outcome
from cdpd.event import Event
from cdpd.secret import Secret

_JSON = {"Content-Type": "application/json"}


class Chat(Destination):
    """Chat: a message in a channel for each track event."""

    name = "Chat"
    supports: ClassVar[frozenset[str]] = frozenset({"track"})
    limits = BatchLimits(max_events=1)

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        url: Secret
        """The channel's incoming address: whoever knows it can write there."""

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        return [await self._tell(event) for event in batch.events]

    async def _tell(self, event: Event) -> Outcome:
        account = event.context.get("account")
        text = f"{event.user_id or 'somebody'}: {event.event}" + (f" ({account})" if account else "")
        body = msgspec.json.encode({"text": text})
        answer = await send(self.env.http, "POST", self.config.url.reveal(), data=body, headers=_JSON)
        return outcome_of(answer, self.env.clock.now_ms(), f"POST {body.decode()}")
