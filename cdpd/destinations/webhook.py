"""Webhook: events as JSON to an address of your own. Source: spec/destinations.md §14."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

import anyio.to_thread
import msgspec
from msgspec import Meta, Raw, field

from cdpd.destinations.actions.config import ActionsConfig, wanted
from cdpd.destinations.actions.destination import ActionDestination
from cdpd.destinations.answers import Rule, Table, failure_of, outcome_of
from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import Batch, BatchLimits, DestinationEnv, Problem
from cdpd.destinations.exchange import send, shown_request, shown_url
from cdpd.destinations.outcome import HELD, BadEvent, Delivered, Outcome
from cdpd.destinations.reach import first_unreachable, origin
from cdpd.destinations.steps import Entry, plan, run_steps, user_of
from cdpd.destinations.webhook_action import SEND
from cdpd.destinations.webhook_rules import is_address, is_header_value, signatures, why_no_header
from cdpd.event import Event
from cdpd.secret import HIDDEN, Secret

_GZIP_FROM: Final = 2048
"""Smaller bodies are not worth compressing."""
_ANSWERS: Final = Table({410: Rule("bad_config", "the receiver asks to stop sending")})


_ABOUT_EVENTS: Final = frozenset((400, 409, 422))
"""Answers that may be about one event of several."""
_MOST_REFUSALS: Final = 24
"""So many arrays refused in a row: it is not about single events."""


class _Refusals:
    """What became of a batch's requests so far."""

    def __init__(self) -> None:
        self.in_a_row = 0
        """Refused since something was taken."""
        self.last: Outcome = HELD

    def told(self, outcome: Outcome) -> None:
        self.last = outcome
        self.in_a_row = self.in_a_row + 1 if isinstance(outcome, BadEvent) else 0


class Webhook(ActionDestination):
    """Webhook: events as JSON to an address of your own, a request an event or a batch.

    Requests carry `X-Cdpd-Attempt`, single ones `X-Cdpd-Message-Id` too: a receiver that keeps the ids can tell
    doubles. Where shared_secret is set, a request carries `X-Timestamp` (seconds since the epoch) and
    `X-Signature-256`: `sha256=` and the hex HMAC-SHA256 of that timestamp, a dot and the whole body (as it is before
    compression).
    """

    name = "Webhook"
    limits = BatchLimits(max_events=500, max_bytes=4 * 1024 * 1024)
    concurrency = 4

    actions = (SEND,)
    answers = _ANSWERS
    example_mapping: ClassVar[Mapping[str, Any]] = {"url": "https://hooks.example.com/in"}

    class Config(ActionsConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        url: str | None = None
        """Where to: `https://…` (or `http://…`). Not with `actions`, each of which says so itself."""
        mode: Literal["single", "batch"] = "single"
        """`single`: a request for each event. `batch`: a JSON array of events a request, in order; one that is refused
        (400, 409, 422) goes again in halves, so that only the event that it is about is parked."""
        method: Literal["POST", "PUT", "PATCH"] = "POST"
        """The request's method."""
        headers: dict[str, Secret] = field(default_factory=dict)
        """Sent with every request; each value may be a secret, and none is ever shown."""
        shared_secret: Secret | None = None
        """Signs every request, so that the receiver can tell it is from here."""
        signature: Literal["sha256", "sha1", "both"] = "both"
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
            if self.url is not None and not is_address(self.url):
                raise ValueError("url: write an address like https://example.com/events")
            for name, value in self.headers.items():
                problem = why_no_header(name, value.reveal())
                if problem:
                    raise ValueError(f"headers: {problem}")

    def __init__(self, config: Any, env: DestinationEnv) -> None:
        super().__init__(config, env)
        if config.mode == "single":
            # What is in flight may come twice after a crash: a batch of single requests takes longer, so it is small.
            self.limits = BatchLimits(max_events=100, max_bytes=self.limits.max_bytes)
            self.concurrency = 2
        self.calls_insert = bool(self.subscriptions)  # its plain way knows nothing of insert functions
        self._headers = {"Content-Type": "application/json"}
        for name, value in config.headers.items():
            if name.lower() == "content-type":
                del self._headers["Content-Type"]
            self._headers[name] = value.reveal()

    @classmethod
    def problems(cls, config: Any) -> Iterable[Problem]:
        if config.actions:
            if config.url is not None:
                text = "`url` is not used with `actions`: each of them says where to in its mapping"
                yield Problem(("url",), text, "remove one of the two")
            yield from super().problems(config)
        elif config.url is None:
            yield Problem((), "it does not say where to", 'add url = "https://…"')

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        if self.subscriptions:
            return await super().deliver(batch)
        if self.config.mode == "batch":
            return await self._all_at_once(batch)
        entries = [
            Entry(place, user_of(event, self.config.ordering)) for place, event in enumerate(batch.events)
        ]

        async def one(places: list[int]) -> list[Outcome]:
            return [await self._send_event(batch.events[place], batch.attempt) for place in places]

        at_once = max(1, round(self.config.concurrency * batch.share))
        strict = self.config.ordering == "strict"
        return await run_steps(entries, plan(entries), one, at_once=at_once, strict=strict)

    async def _all_at_once(self, batch: Batch) -> list[Outcome]:
        lines = [event.line() for event in batch.events]
        return await self._array(lines, {"X-Cdpd-Attempt": str(batch.attempt)}, _Refusals())

    async def _array(
        self, lines: Sequence[bytes], own: Mapping[str, str], refusals: _Refusals
    ) -> list[Outcome]:
        """An array of events; one that is refused goes again in halves, until the event that it means is alone."""
        if refusals.in_a_row < _MOST_REFUSALS:
            refusals.told(await self._send(b"[" + b",".join(lines) + b"]", lines[0], own))
        outcome = refusals.last
        if not isinstance(outcome, BadEvent) or len(lines) == 1:
            return [outcome] * len(lines)
        if outcome.status not in _ABOUT_EVENTS or refusals.in_a_row >= _MOST_REFUSALS:
            # It means all of them, or none in particular: each is kept with its own part of the request.
            return [msgspec.structs.replace(outcome, request=self._shown(line)) for line in lines]
        half = len(lines) // 2
        first = await self._array(lines[:half], own, refusals)
        if not all(isinstance(each, Delivered | BadEvent) for each in first):
            return first + [HELD] * (len(lines) - half)
        return first + await self._array(lines[half:], own, refusals)

    async def _send_event(self, event: Event, attempt: int) -> Outcome:
        line = event.line()
        own = {"X-Cdpd-Attempt": str(attempt)}
        message_id = event.message_id
        if message_id and is_header_value(message_id):
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
        headers = {**self._headers, **own, **self.signatures(body, first)}
        sent = body
        if self.config.gzip and len(body) >= _GZIP_FROM:
            sent = await anyio.to_thread.run_sync(lambda: gzip.compress(body, 5, mtime=0))
            headers["Content-Encoding"] = "gzip"
        url, method = self.config.url, self.config.method
        answer = await send(self.env.http, method, url, data=sent, headers=headers)
        if 200 <= answer.status < 300:
            return Delivered(answer.status)
        return outcome_of(answer, self.env.clock.now_ms(), self._shown(body), _ANSWERS)

    async def check(self) -> Checked:
        """Whether connections are accepted. A request is not made: any may mean something to a receiver."""
        mapped = [each.mapping.get("url") for each in wanted(self.actions, (), self.config)]
        urls = [url for url in (self.config.url, *mapped) if isinstance(url, str)]
        only = f"an event tells: cdpd destination test {self.env.name} --event FILE --live"
        if not urls:
            return Checked("unknown", f"where to each event's own mapping says; {only}")
        problem = await first_unreachable(urls, self.config.timeout)
        if problem:
            return Checked("failed", problem)
        places = ", ".join(dict.fromkeys(map(origin, urls)))
        return Checked("ok", f"{places} can be connected to; whether events are taken, {only}")

    def preview(self, event: Event) -> object:
        if self.subscriptions:
            return super().preview(event)
        config = self.config
        headers = {name: HIDDEN if name in config.headers else value for name, value in self._headers.items()}
        if config.mode == "single":
            headers["X-Cdpd-Message-Id"] = event.message_id
        if config.shared_secret and config.signature != "sha1":
            headers |= {"X-Timestamp": HIDDEN, "X-Signature-256": HIDDEN}
        if config.shared_secret and config.signature != "sha256":
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

    def signatures(self, body: bytes, first: bytes) -> dict[str, str]:
        """Headers that sign a request; `first`: the JSON of its first event. Empty where there is no secret."""
        secret, wanted = self.config.shared_secret, self.config.signature
        if secret is None:
            return {}
        return signatures(secret.reveal(), wanted, body, first, self.env.clock.now_ms() // 1000)
