"""Source functions: webhooks become events of `received`; those whose function says "not now" are kept and tried again.

A webhook is answered 200 once what its function made of it is durable, or it is itself (functions.db). A function that
fails otherwise is answered as a failure, so that the other service sends again. Source: spec/connections.md §9.1, §9.4.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
import msgspec
from msgspec import Raw

from cdpd import metrics as names
from cdpd.config.functions import setup_of
from cdpd.config.model import Config
from cdpd.destinations.answers import Answer, rule_of
from cdpd.functions.frames import Result, Webhook
from cdpd.functions.host import Host, Surroundings
from cdpd.functions.kept import KeptError, KeptWebhook
from cdpd.functions.process import CannotLoad
from cdpd.ingest.line import Head, LineBuilder, message_id
from cdpd.ingest.object_line import object_line
from cdpd.ingest.refusal import APPEND_RETRY, Refused
from cdpd.ingest.settings import IngestSettings, KnownSource
from cdpd.ingest.split import Split
from cdpd.log.errors import AppendFailed
from cdpd.metrics import Metrics
from cdpd.objects import set_event_of
from cdpd.timestamp import format_time

MOST_TRIES: Final = 6
FIRST_WAIT: Final = (60.0, 180.0)
"""Seconds until the second try: something between these, then twice as long each time …"""
LONGEST_WAIT: Final = 1200.0
"""… and at most this."""
LOOK: Final = 5.0
"""Seconds between two looks for webhooks whose time has come."""
AT_ONCE: Final = 64
"""Requests that functions have at the same time; others wait for their turn."""
_SHOWN: Final = 500
"""Characters of a body that are kept beside an error."""
_SOME: Final = 20
_AGAIN: Final = ("retry", "timeout")
_SET: Final = b'"set"'
_NOTHING: Final = ("unsupported", "dropped")

Append = Callable[[Sequence[bytes], int], Awaitable[object]]
Fields = dict[str, Raw]
_decode_fields: Final = msgspec.json.Decoder(Fields).decode
_decode_webhook: Final = msgspec.json.Decoder(Webhook).decode
_encode: Final = msgspec.json.Encoder().encode


class SourceFunctions:
    """All of a daemon; `apply` once before the first request, and at each reload."""

    def __init__(
        self,
        *,
        append: Append,
        settings: Callable[[], IngestSettings],
        around: Surroundings,
        metrics: Metrics,
        random: Callable[[], float],
    ) -> None:
        self._append = append
        self._settings = settings
        self._around = around
        self._clock = around.clock
        self._db = around.data_db
        self._log = around.log
        self._metrics = metrics
        self._random = random
        self._hosts: dict[str, Host] = {}
        self._at_once = anyio.CapacityLimiter(AT_ONCE)

    async def apply(self, config: Config) -> None:
        """Use the functions of this configuration; those that are as they were go on."""
        before, hosts = self._hosts, dict[str, Host]()
        for name, source in config.sources.items():
            if source.function is not None:
                setup, old = setup_of(source.function), before.get(name)
                same = old is not None and old.setup == setup
                hosts[name] = old if same and old else Host(f"source {name}", "source", setup, self._around)
        self._hosts = hosts
        await _close(host for name, host in before.items() if hosts.get(name) is not host)

    async def close(self) -> None:
        """End their processes, after the calls that run."""
        await _close(self._hosts.values())

    def has(self, source: str) -> bool:
        """Whether the source has a function."""
        return source in self._hosts

    # -- a request -------------------------------------------------------------------------------------------

    async def take(
        self,
        source: KnownSource,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        via: bytes,
        settings: IngestSettings,
    ) -> None:
        """As cdpd/ingest/webhooks.py says. Raises Refused."""
        request, at_ms, token = _encode(Webhook(url, dict(headers), body)), self._clock.now_ms(), _token()
        try:
            async with self._at_once:
                result = await self._call(source.name, request)
        except CannotLoad as error:
            text = f"the function of the source {source.name} cannot be run; its log says why"
            raise Refused(503, "function_unavailable", text, retry_after=30) from error
        ended = self._ended(result)
        if ended in _AGAIN:
            kept = KeptWebhook(token, source.name, at_ms, via, request, 1, self._next_ms(1))
            try:
                await anyio.to_thread.run_sync(self._db.keep_webhook, kept)
            except OSError as error:
                self._log.error("a webhook cannot be kept for another try", problem=str(error))
                text = "the request could not be stored; send it again"
                raise Refused(503, "log_unavailable", text, retry_after=APPEND_RETRY) from error
            self._metrics.add(names.NOTED, "webhook_kept")
        elif ended == "done":
            try:
                await self._emit(source.name, token, at_ms, via, result, settings)
            except AppendFailed as error:
                text = "the events could not be stored; send the same request again"
                raise Refused(503, "log_unavailable", text, retry_after=APPEND_RETRY) from error
        elif ended == "rejected":
            raise Refused(400, "message_rejected", "the source's function refuses this request")
        elif ended not in _NOTHING:
            text = f"the function of the source {source.name} failed: `cdpd function logs {source.name}` says why"
            raise Refused(500, "function_failed", text)

    async def _call(self, source: str, request: bytes) -> Result:
        """Raises CannotLoad."""

        def shown(_: int) -> str:
            return _decode_webhook(request).body[:_SHOWN].decode(errors="replace")

        (result,) = await self._hosts[source].call([Raw(request)], shown)
        return result

    def _ended(self, result: Result) -> str:
        """How it ended; an answer of another service, for which it raised, by its status."""
        if result.ended != "status":
            return result.ended
        kind = rule_of(Answer(result.status or 0, {}), self._clock.now_ms()).kind
        return "retry" if kind in ("retry", "rate_limited") else "failed"

    async def _emit(
        self, source: str, token: str, at_ms: int, via: bytes, result: Result, settings: IngestSettings
    ) -> None:
        """Make what it emitted durable, as if it had been sent. Raises AppendFailed."""
        if not result.emitted:
            return
        head = Head(b'"%b"' % format_time(at_ms).encode(), _encode(source), via)
        emitted = [_decode_fields(fields) for fields in result.emitted]
        lines = [_line(fields, f"fn-{token}-{i}", head, settings) for i, fields in enumerate(emitted)]
        await self._append(lines, settings.config_id)
        objects = sum(bytes(fields["type"]) == _SET for fields in emitted)
        for family, n in ((names.RECEIVED, len(lines) - objects), (names.RECEIVED_OBJECTS, objects)):
            if n:
                self._metrics.add(family, source, n=n)

    # -- those that wait -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Try again what is kept, when its time has come."""
        while True:
            now = self._clock.now_ms()
            try:
                due = await anyio.to_thread.run_sync(self._db.due, now, _SOME)
                for webhook in due:
                    await self._again(webhook)
            except OSError as error:
                self._log.error("webhooks that wait cannot be read or put off", problem=str(error))
                due = []
            if len(due) < _SOME:
                await self._clock.sleep(LOOK)

    async def _again(self, webhook: KeptWebhook) -> None:
        """Raises OSError."""
        ended = "retry"
        try:
            if webhook.source in self._hosts:
                result = await self._call(webhook.source, webhook.request)
                ended = self._ended(result)
                if ended == "done":
                    settings = self._settings()
                    await self._emit(
                        webhook.source, webhook.token, webhook.at_ms, webhook.via, result, settings
                    )
        except CannotLoad:
            pass  # it is kept and told by the host
        except AppendFailed:
            return  # it comes again at the next look: that was not the function's fault
        tries = webhook.tries + 1
        if ended not in _AGAIN:
            await anyio.to_thread.run_sync(self._db.forget, webhook.id)
        elif tries >= MOST_TRIES:
            text = f"given up after {tries} tries"
            error = KeptError(f"source {webhook.source}", self._clock.now_ms(), "given_up", text)
            await anyio.to_thread.run_sync(self._db.keep_errors, [error])
            await anyio.to_thread.run_sync(self._db.forget, webhook.id)
            self._metrics.add(names.NOTED, "webhook_given_up")
            self._log.error("a webhook is given up: its function could not take it", source=webhook.source)
        else:
            put_off = partial(self._db.put_off, webhook.id, tries, self._next_ms(tries, webhook))
            await anyio.to_thread.run_sync(put_off)

    def _next_ms(self, tries: int, webhook: KeptWebhook | None = None) -> int:
        """When it is tried again, after so many tries."""
        least, most = FIRST_WAIT
        wait = least + self._random() * (most - least)
        if webhook is not None:
            wait *= 2 ** (tries - 1)
        return self._clock.now_ms() + round(min(wait, LONGEST_WAIT) * 1000)


async def _close(hosts: Iterable[Host]) -> None:
    async with anyio.create_task_group() as tasks:
        for host in hosts:
            tasks.start_soon(host.close)


def _token() -> str:
    return secrets.token_hex(12)


def _line(fields: Fields, own_id: str, head: Head, settings: IngestSettings) -> bytes:
    """A line of `received`. Its messageId, where it has none, makes a run of the same request double nothing."""
    given = fields.get("messageId")
    if given is None or bytes(given) in (b"null", b'""'):
        fields["messageId"] = Raw(_encode(own_id))
    if bytes(fields["type"]) == _SET:
        return object_line(head, set_event_of(fields), message_id(fields["messageId"]))
    event = Raw(_encode(fields))
    (line,) = LineBuilder(settings, head, Split(events=[event], key=None), multiline=False).build([event])
    return line
