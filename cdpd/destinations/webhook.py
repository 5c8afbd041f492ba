"""Webhook: events as JSON to an address of your own."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import anyio
import anyio.to_thread
from msgspec import Meta, field

from cdpd.destinations.answers import Answer, outcome_of, send
from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationConfig, DestinationEnv
from cdpd.destinations.outcome import BadEvent, Misconfigured, Outcome, TryAgain
from cdpd.event import Event
from cdpd.secret import Secret

_GZIP_FROM: Final = 2048
_FORBIDDEN: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_VALUE: Final = re.compile(r"[\x20-\x7e\t]*", re.ASCII)
_KEPT: Final = 16 * 1024
"""How much of a request is kept with an event that is parked."""


class Webhook(Destination):
    """Webhook: events as JSON to an address of your own.

    A batch is a JSON array of events, in order; with mode = "single" each event is a request of its own. Where
    signing_secret is set, a request carries `X-Timestamp` (seconds since the epoch) and `X-Signature-256`:
    `sha256=` and the hex HMAC-SHA256 of that timestamp, a dot and the whole body (as sent before compression).
    """

    name = "Webhook"
    limits = BatchLimits(max_events=500, max_bytes=4 * 1024 * 1024)

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        url: Annotated[str, Meta(pattern=r"^https?://[^\s/]")]
        """Where to send, http:// or https://."""
        method: Literal["POST", "PUT", "PATCH"] = "POST"
        """The request's method."""
        mode: Literal["batch", "single"] = "batch"
        """`batch`: an array of events a request. `single`: a request an event."""
        headers: dict[str, Secret] = field(default_factory=dict)
        """Further headers; a value may be a secret."""
        signing_secret: Secret | None = None
        """Signs each request, so that the receiver knows it is from here."""
        signature: Literal["sha256", "sha1"] = "sha256"
        """`sha256`: see above. `sha1`: `X-Signature`, the hex HMAC-SHA1 of the (first) event, as Segment does."""
        gzip: bool = False
        """Compress bodies from 2 KB on."""
        concurrency: Annotated[int, Meta(ge=1, le=100)] = 8
        """With mode = "single": requests at once; each user's events still go one after the other."""

        def __post_init__(self) -> None:
            for name, value in self.headers.items():
                if not _NAME.fullmatch(name):
                    raise ValueError(f"headers: {name!r} is no name of a header")
                if name.lower() in _FORBIDDEN:
                    raise ValueError(f"headers: {name} is set by cdpd itself")
                if not _VALUE.fullmatch(value.reveal()):
                    raise ValueError(f"headers: the value of {name} has characters that no header may have")

    config: Config

    def __init__(self, config: Config, env: DestinationEnv) -> None:
        super().__init__(config, env)
        self._headers = {"Content-Type": "application/json"}
        own = {name.lower() for name in config.headers}
        if "content-type" in own:
            self._headers.clear()
        self._headers |= {name: value.reveal() for name, value in config.headers.items()}

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        if self.config.mode == "single":
            return await self._one_by_one(batch)
        lines = [event.line() for event in batch.events]
        answer = await self._send(b"[" + b",".join(lines) + b"]", lines[0], batch.attempt)
        if len(lines) == 1:
            return [self._outcome(answer, lines[0])]
        outcome = self._outcome(answer, lines[0])
        if isinstance(outcome, BadEvent):
            # Which of them it means is not known: each is kept with its own part of the request.
            return [self._outcome(answer, line) for line in lines]
        return [outcome] * len(lines)

    async def _one_by_one(self, batch: Batch) -> Sequence[Outcome]:
        """Each event a request; of one user's, none before the one before it has been taken or refused for good."""
        outcomes: list[Outcome] = [TryAgain("an earlier event of this user has to be sent first")] * len(
            batch.events
        )
        users: dict[str, list[int]] = {}
        for i, event in enumerate(batch.events):
            users.setdefault(event.user_id or event.anonymous_id or f"#{i}", []).append(i)
        limiter = anyio.CapacityLimiter(self.config.concurrency)
        stopped = False

        async def in_order(places: list[int]) -> None:
            nonlocal stopped
            for i in places:
                async with limiter:
                    if stopped:
                        return
                    outcomes[i] = outcome = await self._single(batch.events[i], batch.attempt)
                if isinstance(outcome, TryAgain | Misconfigured):
                    stopped = isinstance(outcome, Misconfigured) or outcome.after is not None or stopped
                    return

        if len(users) == 1 or self.config.ordering == "strict":
            await in_order(list(range(len(batch.events))))
        else:
            async with anyio.create_task_group() as tasks:
                for places in users.values():
                    tasks.start_soon(in_order, places)
        return outcomes

    async def _single(self, event: Event, attempt: int) -> Outcome:
        line = event.line()
        try:
            answer = await self._send(line, line, attempt, message_id=event.message_id)
        except TimeoutError:
            # Told here, so that what other requests of this batch achieved is not thrown away with it.
            return TryAgain("no answer in time")
        except ConnectionError as error:
            return TryAgain(str(error) or type(error).__name__)
        return self._outcome(answer, line)

    async def _send(self, body: bytes, first: bytes, attempt: int, message_id: str | None = None) -> Answer:
        headers = {**self._headers, **self._signature(body, first), "X-Cdpd-Attempt": str(attempt)}
        if message_id is not None and _VALUE.fullmatch(message_id):
            headers["X-Cdpd-Message-Id"] = message_id
        if self.config.gzip and len(body) >= _GZIP_FROM:
            body = await anyio.to_thread.run_sync(gzip.compress, body, 6)
            headers["Content-Encoding"] = "gzip"
        return await send(self.env.http, self.config.method, self.config.url, data=body, headers=headers)

    def _signature(self, body: bytes, first: bytes) -> dict[str, str]:
        secret = self.config.signing_secret
        if secret is None:
            return {}
        key = secret.reveal().encode()
        if self.config.signature == "sha1":
            return {"X-Signature": hmac.new(key, first, hashlib.sha1).hexdigest()}
        at = str(self.env.clock.now_ms() // 1000)
        signed = hmac.new(key, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"X-Timestamp": at, "X-Signature-256": f"sha256={signed}"}

    def _outcome(self, answer: Answer, line: bytes) -> Outcome:
        if answer.status == 410:
            return Misconfigured("HTTP 410: the receiver asks to send nothing more", 410)
        request = f"{self.config.method} {self.config.url}\n\n{line[:_KEPT].decode(errors='replace')}"
        return outcome_of(answer, self.env.clock.now_ms(), request)
