"""The event endpoints: a POST becomes lines of `received`, and 200 once they are durable."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import anyio.to_thread
import msgspec
import structlog
from aiohttp.web import BaseRequest
from msgspec import Raw, Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.ingest.auth import by_header, by_key, query_key, raw_key
from cdpd.ingest.body import read_body
from cdpd.ingest.connection import Connection
from cdpd.ingest.in_flight import Charge, InFlight
from cdpd.ingest.line import Head, LineBuilder
from cdpd.ingest.mend import mend_escapes
from cdpd.ingest.refusal import APPEND_RETRY, Refused, overloaded, too_large
from cdpd.ingest.settings import IngestSettings, KnownSource
from cdpd.ingest.split import Element, Split, peek, split_batch, split_single
from cdpd.ingest.tolerant import MAX_COMMAS, split_tolerantly
from cdpd.ingest.via import client_ip, via_json
from cdpd.log.errors import AppendFailed
from cdpd.metrics import Metrics
from cdpd.timestamp import format_time

Append = Callable[[Sequence[bytes], int], Awaitable[object]]
"""Lines and the configuration's id → returns once they are durable. Raises AppendFailed."""

SLICE: Final = 250
"""Events that are looked at in one go; then other requests have their turn (about 1 ms)."""
IN_THREAD: Final = 64 * 1024
"""Bytes from which the tolerant path, ten times slower, leaves the loop."""
COMMON_BATCH_BYTES: Final = 500 * 1024
"""What Segment takes in one request; more is counted."""


class Endpoint(Struct, frozen=True):
    """One path that takes events."""

    path: str
    single: bool


class Tracking:
    """Takes requests on the event endpoints."""

    def __init__(
        self,
        append: Append,
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        in_flight: InFlight,
    ) -> None:
        self._append = append
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._in_flight = in_flight
        self._aside = anyio.CapacityLimiter(1)
        self._at_ms = -1
        self._at = b""

    async def take(self, request: BaseRequest, endpoint: Endpoint, settings: IngestSettings) -> None:
        """Returns once the request's events are durable. Raises Refused."""
        try:
            source = by_header(settings, request.headers.get("Authorization"))
        except Refused as refused:
            if self._unknown(refused, settings):
                return
            raise
        if source is not None and not source.enabled:
            self._disabled(source)
            return
        charge = Charge(self._in_flight)
        try:
            await self._take(request, endpoint, settings, source, charge)
        finally:
            charge.release()

    async def _take(
        self,
        request: BaseRequest,
        endpoint: Endpoint,
        settings: IngestSettings,
        source: KnownSource | None,
        charge: Charge,
    ) -> None:
        body = await read_body(request, charge, settings.max_batch_bytes)
        arrived_ms = self._clock.now_ms()
        split, body = await self._split(body, endpoint.single)
        if source is None:
            try:
                source = _source_by_body(settings, request, split)
            except Refused as refused:
                if self._unknown(refused, settings):
                    return
                raise
            if not source.enabled:
                self._disabled(source)
                return
        elif split.key is not None:
            self._compare(source, split.key)
        if endpoint.single and len(body) > settings.max_event_bytes:
            raise too_large("the event", settings.max_event_bytes)
        if len(body) > COMMON_BATCH_BYTES:
            self._metrics.add(names.NOTED, "large_batch")
        if not split.events:
            self._metrics.add(names.NOTED, "empty_batch")
            return
        head = Head(self._received_at(arrived_ms), source.json, self._via(request, endpoint, settings))
        lines = await self._lines(settings, head, split, body, charge)
        try:
            await self._append(lines, settings.config_id)
        except AppendFailed as error:
            raise Refused(
                503,
                "log_unavailable",
                f"the events could not be stored ({error}); send the same request again",
                retry_after=APPEND_RETRY,
            ) from error
        self._metrics.add(names.RECEIVED, source.name, n=len(lines))

    async def _split(self, body: bytes, single: bool) -> tuple[Split, bytes]:
        """The events, and the body that they were found in. Raises Refused."""
        if not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError as error:
                raise Refused(
                    400, "invalid_encoding", f"the body is not UTF-8 (byte {error.start})"
                ) from None
        if rb"\u0000" in body:
            counts: Counter[str] = Counter()
            body = mend_escapes(body, counts)
            self._note(counts)
        if len(body) < MAX_COMMAS or body.count(b",") <= MAX_COMMAS:
            try:
                return (split_single(body) if single else split_batch(body)), body
            except (msgspec.DecodeError, RecursionError):
                pass
        if len(body) < IN_THREAD:
            split, counts = split_tolerantly(body, single)
        else:
            split, counts = await anyio.to_thread.run_sync(
                split_tolerantly, body, single, limiter=self._aside
            )
        self._note(counts)
        return split, body

    async def _lines(
        self, settings: IngestSettings, head: Head, split: Split, body: bytes, charge: Charge
    ) -> list[bytes]:
        builder = LineBuilder(settings, head, split, b"\n" in body or b"\r" in body)
        if builder.dropped_sent_at:
            self._metrics.add(names.NOTED, "sent_at_too_long")
        events: Sequence[Raw | Element] = split.events
        if len(events) <= 2 * SLICE:
            lines = builder.build(events)
            if not charge.add(builder.size):
                raise overloaded()
            return lines
        lines = []
        for begin in range(0, len(events), SLICE):
            before = builder.size
            lines += builder.build(events[begin : begin + SLICE])
            if not charge.add(builder.size - before):
                raise overloaded()
            await asyncio.sleep(0)
        return lines

    def _via(self, request: BaseRequest, endpoint: Endpoint, settings: IngestSettings) -> bytes:
        connection = request.protocol
        assert isinstance(connection, Connection)
        ip = client_ip(connection.peer, request.headers, settings.trusted_proxies)
        return via_json(endpoint.path, ip, request.headers)

    def _received_at(self, ms: int) -> bytes:
        if ms != self._at_ms:
            self._at_ms = ms
            self._at = b'"' + format_time(ms).encode() + b'"'
        return self._at

    # -- counted, and no error -----------------------------------------------------------------------------

    def _unknown(self, refused: Refused, settings: IngestSettings) -> bool:
        """Whether a request without a known key is answered 200 all the same."""
        if settings.unknown_key == 200 and refused.status == 401:
            self._metrics.add(names.NOTED, refused.code)
            return True
        return False

    def _disabled(self, source: KnownSource) -> None:
        self._metrics.add(names.NOTED, "source_disabled")
        self._log.debug("a request for a disabled source was answered and dropped", source=source.name)

    def _compare(self, source: KnownSource, in_body: Raw) -> None:
        key = raw_key(in_body)
        if key is not None and key != source.write_key:
            self._metrics.add(names.NOTED, "write_key_conflict")
            self._log.debug(
                "the write keys of header and body differ; the header's counts", source=source.name
            )

    def _note(self, counts: Counter[str]) -> None:
        for code, n in counts.items():
            self._metrics.add(names.NOTED, code, n=n)


def _source_by_body(settings: IngestSettings, request: BaseRequest, split: Split) -> KnownSource:
    key = raw_key(split.key) or query_key(request.rel_url.raw_query_string) or _first_key(split)
    return by_key(settings, key)


def _first_key(split: Split) -> str | None:
    """The write key of a batch's first event (analytics-next puts it there)."""
    if not split.events:
        return None
    first = split.events[0]
    if isinstance(first, Element) and first.too_deep:
        return None
    try:
        return raw_key(peek(first.text if isinstance(first, Element) else first).key)
    except (msgspec.DecodeError, RecursionError):
        return None
