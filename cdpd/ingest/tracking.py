"""The event endpoints: a POST becomes lines of `received`, and 200 once they are durable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import anyio.to_thread
import msgspec
import structlog
from msgspec import Raw, Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.ingest.auth import by_header, by_key, query_key, raw_key
from cdpd.ingest.body import read_body, ready_body
from cdpd.ingest.in_flight import Charge, InFlight
from cdpd.ingest.line import Head, LineBuilder
from cdpd.ingest.refusal import APPEND_RETRY, Refused, overloaded, too_large
from cdpd.ingest.request import Request
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

    async def take(self, request: Request, endpoint: Endpoint, settings: IngestSettings) -> None:
        """Returns once the request's events are durable. Raises Refused."""
        try:
            source = by_header(settings, request.headers.get("authorization"))
        except Refused as refused:
            if self._unknown(refused, settings):
                return
            raise
        if source is not None and not source.enabled:
            self._disabled(source)
            return
        charge = Charge(self._in_flight)
        try:
            body = ready_body(request, charge, settings.max_batch_bytes)
            if body is None:
                body = await read_body(request, charge, settings.max_batch_bytes)
            at_ms = self._clock.now_ms()
            split = self._split(body, endpoint.single)
            if split is None:
                body, split = await self._split_tolerantly(body, endpoint.single)
            source = self._source(request, settings, source, split)
            if source is None:
                return
            if endpoint.single and len(body) > settings.max_event_bytes:
                raise too_large("the event", settings.max_event_bytes)
            if len(body) > COMMON_BATCH_BYTES:
                self._metrics.add(names.NOTED, "large_batch")
            if not split.events:
                self._metrics.add(names.NOTED, "empty_batch")
                return
            head = Head(
                self._received_at(at_ms),
                source.json,
                via_json(request, endpoint.path, client_ip(request, settings.trusted_proxies)),
            )
            builder = LineBuilder(settings, head, split, b"\n" in body or b"\r" in body)
            if len(split.events) <= 2 * SLICE:
                lines = builder.build(split.events)
                if not charge.add(builder.size):
                    raise overloaded()
            else:
                lines = await _build_in_slices(builder, split.events, charge)
            del body, split
            await self._store(lines, settings)
        finally:
            charge.release()
        if builder.dropped_sent_at:
            self._metrics.add(names.NOTED, "sent_at_too_long")
        self._metrics.add(names.RECEIVED, source.name, n=len(lines))

    async def _store(self, lines: Sequence[bytes], settings: IngestSettings) -> None:
        try:
            await self._append(lines, settings.config_id)
        except AppendFailed as error:
            # The log itself tells of it, once: on a full disk every request comes here.
            raise Refused(
                503,
                "log_unavailable",
                "the events could not be stored; send the same request again",
                retry_after=APPEND_RETRY,
            ) from error

    def _split(self, body: bytes, single: bool) -> Split | None:
        """The events, where the fast decoder takes the body. Raises Refused."""
        if not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError as error:
                raise Refused(
                    400, "invalid_encoding", f"the body is not UTF-8 (byte {error.start})"
                ) from None
        if b"\\" in body and rb"\u0000" in body:  # few bodies have a backslash, and looking for one is quick
            return None
        if len(body) > MAX_COMMAS and body.count(b",") > MAX_COMMAS:
            return None
        try:
            return split_single(body) if single else split_batch(body)
        except (msgspec.DecodeError, RecursionError):
            return None

    async def _split_tolerantly(self, body: bytes, single: bool) -> tuple[bytes, Split]:
        """The same for any other body, after mending; the body as it is then. Raises Refused."""
        if len(body) < IN_THREAD:
            body, split, counts = split_tolerantly(body, single)
        else:
            body, split, counts = await anyio.to_thread.run_sync(
                split_tolerantly, body, single, limiter=self._aside
            )
        for code, n in counts.items():
            self._metrics.add(names.NOTED, code, n=n)
        return body, split

    def _source(
        self, request: Request, settings: IngestSettings, named: KnownSource | None, split: Split
    ) -> KnownSource | None:
        """The request's source: the one that the header named, else by the body; None where nothing is kept.

        Raises Refused.
        """
        if named is not None:
            if split.key is not None:
                self._compare(named, split.key)
            return named
        try:
            key = raw_key(split.key) or query_key(request.query) or _first_key(split)
            source = by_key(settings, key)
        except Refused as refused:
            if self._unknown(refused, settings):
                return None
            raise
        if not source.enabled:
            self._disabled(source)
            return None
        return source

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


async def _build_in_slices(
    builder: LineBuilder, events: Sequence[Raw | Element], charge: Charge
) -> list[bytes]:
    """The lines of a large batch, with turns for other requests in between. Raises Refused."""
    lines: list[bytes] = []
    for begin in range(0, len(events), SLICE):
        before = builder.size
        lines += builder.build(events[begin : begin + SLICE])
        if not charge.add(builder.size - before):
            raise overloaded()
        await asyncio.sleep(0)
    return lines


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
