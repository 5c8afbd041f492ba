"""Webhook: events as JSON to an address of your own. Source: spec/destinations.md §14."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import msgspec
from msgspec import Meta, Raw, field

from cdpd.destinations.answers import Rule, Table, failure_of, outcome_of
from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationConfig, DestinationEnv
from cdpd.destinations.exchange import send, shown_request, shown_url
from cdpd.destinations.outcome import (
    BadEvent,
    Delivered,
    Misconfigured,
    Outcome,
    RateLimited,
    TryAgain,
)
from cdpd.event import Event
from cdpd.secret import HIDDEN, Secret

_OURS: Final = frozenset(("host", "content-length", "transfer-encoding", "connection", "content-encoding"))
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_GZIP_FROM: Final = 2048
"""Smaller bodies are not worth compressing."""
_ANSWERS: Final = Table({410: Rule("bad_config", "the receiver asks to stop sending")})
_HELD: Final = TryAgain("an earlier event has to go first")


class Webhook(Destination):
    """Webhook: events as JSON to an address of your own, a request an event or a batch.

    Requests carry `X-Cdpd-Attempt`, single ones `X-Cdpd-Message-Id` too: a receiver that keeps the ids can tell
    doubles. Where signing_secret is set, a request carries `X-Timestamp` (seconds since the epoch) and
    `X-Signature-256`: `sha256=` and the hex HMAC-SHA256 of that timestamp, a dot and the whole body (as it is before
    compression).
    """

    name = "Webhook"
    limits = BatchLimits(max_events=500, max_bytes=4 * 1024 * 1024)
    concurrency = 4

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        url: str
        """Where to: `https://…` (or `http://…`)."""
        mode: Literal["single", "batch"] = "single"
        """`single`: a request for each event. `batch`: a JSON array of events a request, in order."""
        method: Literal["POST", "PUT", "PATCH"] = "POST"
        """The request's method."""
        headers: dict[str, Secret] = field(default_factory=dict)
        """Sent with every request; each value may be a secret, and none is ever shown."""
        signing_secret: Secret | None = None
        """Signs every request, so that the receiver can tell it is from here."""
        signature: Literal["sha256", "sha1", "both"] = "sha256"
        """`sha256`: `X-Timestamp`, seconds since the epoch, and `X-Signature-256`: `sha256=` and the hex HMAC-SHA256 of
        that timestamp, a dot and the body. `sha1`: `X-Signature`, the hex HMAC-SHA1 of the event's JSON (of an
        array's first), as Segment does. `both`: both."""
        gzip: bool = False
        """Compress bodies of 2 KiB and more; the receiver has to know `Content-Encoding: gzip`."""
        concurrency: Annotated[int, Meta(ge=1, le=256)] = 8
        """With `mode = "single"`: requests at once within a batch, fewer while the receiver says that it is too much;
        each user's events still go one after the other."""

        def __post_init__(self) -> None:
            super(type(self), self).__post_init__()
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or not self.url.isprintable():
                raise ValueError("url: write an address like https://example.com/events")
            for name, value in self.headers.items():
                if not _NAME.fullmatch(name) or name.lower() in _OURS:
                    raise ValueError(f"headers: {name!r} cannot be set")
                if not _VALUE.fullmatch(value.reveal()):
                    raise ValueError(f"headers: the value of {name} must be printable ASCII")

    def __init__(self, config: Any, env: DestinationEnv) -> None:
        super().__init__(config, env)
        if config.mode == "single":
            # What is in flight may come twice after a crash: a batch of single requests takes longer, so it is small.
            self.limits = BatchLimits(max_events=100, max_bytes=self.limits.max_bytes)
            self.concurrency = 2
        self._headers = {"Content-Type": "application/json"}
        for name, value in config.headers.items():
            if name.lower() == "content-type":
                del self._headers["Content-Type"]
            self._headers[name] = value.reveal()

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        if self.config.mode == "batch":
            lines = [event.line() for event in batch.events]
            body = b"[" + b",".join(lines) + b"]"
            outcome = await self._send(body, lines[0], {"X-Cdpd-Attempt": str(batch.attempt)})
            if isinstance(outcome, BadEvent) and len(lines) > 1:
                # Which of them it means is not known: each is kept with its own part of the request.
                return [msgspec.structs.replace(outcome, request=self._shown(line)) for line in lines]
            return [outcome] * len(lines)
        return await self._one_by_one(batch)

    async def _one_by_one(self, batch: Batch) -> list[Outcome]:
        """Users side by side, each user's events in order; after one that has to wait, the user's later ones do.

        Where the receiver is away, or refuses everybody, the rest of the batch is not tried.
        """
        outcomes: list[Outcome] = [_HELD] * len(batch.events)
        at_once = max(1, round(self.config.concurrency * batch.share))
        running = anyio.CapacityLimiter(at_once)
        misses = 0  # in a row

        async def one_user(places: list[int]) -> None:
            nonlocal misses
            for place in places:
                async with running:
                    if misses >= at_once:
                        return
                    outcomes[place] = outcome = await self._send_event(batch.events[place], batch.attempt)
                if isinstance(outcome, Misconfigured | RateLimited) or (
                    isinstance(outcome, TryAgain) and outcome.after is not None
                ):
                    misses = at_once
                else:
                    misses = misses + 1 if isinstance(outcome, TryAgain) else 0
                if not _may_go_on(outcome, self.config.ordering):
                    return

        users = _by_user(batch.events, self.config.ordering)
        if len(users) == 1:
            await one_user(users[0])
            return outcomes
        async with anyio.create_task_group() as tasks:
            for places in users:
                tasks.start_soon(one_user, places)
        return outcomes

    async def _send_event(self, event: Event, attempt: int) -> Outcome:
        line = event.line()
        own = {"X-Cdpd-Attempt": str(attempt)}
        message_id = event.message_id
        if message_id and _VALUE.fullmatch(message_id):
            own["X-Cdpd-Message-Id"] = message_id
        try:
            return await self._send(line, line, own)
        except Exception as error:
            # One event's failed request must not hide what became of its neighbours.
            outcome = failure_of(error)
            if outcome is None:
                raise
            return outcome

    async def _send(self, body: bytes, first: bytes, own: Mapping[str, str]) -> Outcome:
        headers = {**self._headers, **own, **self._signatures(body, first)}
        sent = body
        if self.config.gzip and len(body) >= _GZIP_FROM:
            sent = await anyio.to_thread.run_sync(lambda: gzip.compress(body, 5, mtime=0))
            headers["Content-Encoding"] = "gzip"
        url, method = self.config.url, self.config.method
        answer = await send(self.env.http, method, url, data=sent, headers=headers)
        if 200 <= answer.status < 300:
            return Delivered(answer.status)
        return outcome_of(answer, self.env.clock.now_ms(), self._shown(body), _ANSWERS)

    def preview(self, event: Event) -> object:
        config = self.config
        headers = {name: HIDDEN if name in config.headers else value for name, value in self._headers.items()}
        if config.mode == "single":
            headers["X-Cdpd-Message-Id"] = event.message_id
        if config.signing_secret and config.signature != "sha1":
            headers |= {"X-Timestamp": HIDDEN, "X-Signature-256": HIDDEN}
        if config.signing_secret and config.signature != "sha256":
            headers["X-Signature"] = HIDDEN
        body = Raw(event.line())
        return {
            "method": config.method,
            "url": shown_url(config.url),
            "headers": headers,
            "body": [body] if config.mode == "batch" else body,
        }

    def _shown(self, body: bytes) -> str:
        return shown_request(self.config.method, self.config.url, self._headers, body)

    def _signatures(self, body: bytes, first: bytes) -> dict[str, str]:
        if not self.config.signing_secret:
            return {}
        key, wanted = self.config.signing_secret.reveal().encode(), self.config.signature
        out: dict[str, str] = {}
        if wanted != "sha1":
            stamp = str(self.env.clock.now_ms() // 1000)
            digest = hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
            out = {"X-Timestamp": stamp, "X-Signature-256": f"sha256={digest}"}
        if wanted != "sha256":
            out["X-Signature"] = hmac.new(key, first, hashlib.sha1).hexdigest()
        return out


def _by_user(events: Sequence[Event], ordering: str) -> list[list[int]]:
    """The places of each user's events; all of them together where all have to keep their order."""
    if ordering == "strict":
        return [list(range(len(events)))]
    if ordering == "none":
        return [[place] for place in range(len(events))]
    users: dict[object, list[int]] = {}
    for place, event in enumerate(events):
        key = event.user_id or event.anonymous_id or place
        users.setdefault(key, []).append(place)
    return list(users.values())


def _may_go_on(outcome: Outcome, ordering: str) -> bool:
    if ordering == "strict":
        return isinstance(outcome, Delivered)
    return isinstance(outcome, Delivered | BadEvent)
