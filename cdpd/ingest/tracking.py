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
from cdpd.ingest.auth import by_header, by_key, check_token, query_key, raw_key
from cdpd.ingest.body import read_body, ready_body
from cdpd.ingest.in_flight import Charge, InFlight
from cdpd.ingest.key_use import KeyUse
from cdpd.ingest.line import Head, LineBuilder
from cdpd.ingest.pixel import Pixel, pixel_event
from cdpd.ingest.refusal import APPEND_RETRY, Refused, overloaded, rate_limited, too_large
from cdpd.ingest.request import Request
from cdpd.ingest.settings import IngestSettings, KnownSource
from cdpd.ingest.split import Element, Split, peek, split_batch, split_single
from cdpd.ingest.tolerant import MAX_COMMAS, split_tolerantly
from cdpd.ingest.via import MAX_ORIGIN, client_ip, legible, network, retries, via_json
from cdpd.limit import Limit
from cdpd.log.errors import AppendFailed
from cdpd.metrics import Metrics
from cdpd.oauth.contract import OAuth
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
        keys: KeyUse,
        oauth: OAuth | None,
    ) -> None:
        self.closed: Callable[[], Refused] | None = None
        """How every event is refused for now."""
        self._append = append
        self._clock = clock
        self._monotonic = clock.monotonic
        self._metrics = metrics
        self.appends = metrics.histogram(names.APPEND_SECONDS)
        self._log = log
        self._in_flight = in_flight
        self.keys = keys
        self._oauth = oauth
        self._limit = Limit(clock.monotonic)
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
        if source is not None and not self.admits(source, request, settings):
            return
        limit = settings.largest_body(source)
        charge = Charge(self._in_flight)
        try:
            body = ready_body(request, charge, limit)
            if body is None:
                body = await read_body(request, charge, limit)
            await self._keep(request, endpoint, settings, source, body, charge)
        finally:
            charge.release()

    async def take_pixel(self, request: Request, pixel: Pixel, settings: IngestSettings) -> None:
        """The same for the event in a pixel's query."""
        source = by_header(settings, request.headers.get("authorization"))
        if source is not None and not self.admits(source, request, settings):
            return
        charge = Charge(self._in_flight)
        try:
            body = pixel_event(pixel, request.query, legible(request.headers.get("user-agent", "")))
            if not charge.add(len(body)):
                raise overloaded()
            await self._keep(request, Endpoint(pixel.path, single=True), settings, source, body, charge)
        finally:
            charge.release()

    async def _keep(
        self,
        request: Request,
        endpoint: Endpoint,
        settings: IngestSettings,
        source: KnownSource | None,
        body: bytes,
        charge: Charge,
    ) -> None:
        """From a body to durable lines. `source` has been admitted where the header named it. Raises Refused."""
        at_ms = self._clock.now_ms()
        split = self.split(body, endpoint.single)
        if split is None:
            body, split = await self._split_tolerantly(body, endpoint.single)
        source = self._source(request, settings, source, split)
        if source is None:
            return
        if self.closed is not None:
            raise self.closed()
        self.keys.note(source.write_key, at_ms)
        if endpoint.single and len(body) > settings.max_event_bytes:
            raise too_large("the event", settings.max_event_bytes)
        if len(body) > COMMON_BATCH_BYTES:
            if len(body) > settings.largest_body(source):
                raise too_large("the body", settings.largest_body(source))
            self._metrics.add(names.NOTED, "large_batch")
        if not split.events:
            self._metrics.add(names.NOTED, "empty_batch")
            return
        if retries(request):
            self._metrics.add(names.CLIENT_RETRIES, source.name)
        builder = self._builder(request, endpoint, settings, source, split, body, at_ms)
        if len(split.events) <= 2 * SLICE:
            lines = builder.build(split.events)
            if not charge.add(builder.size):
                raise overloaded()
        else:
            lines = await _build_in_slices(builder, split.events, charge)
        del body, split
        await self.append(lines, settings)
        self.stored(source, builder, len(lines))

    async def append(self, lines: Sequence[bytes], settings: IngestSettings) -> None:
        """Returns once they are durable. Raises Refused."""
        try:
            await self._append(lines, settings.config_id)
        except AppendFailed as error:
            raise unstored() from error

    def _builder(
        self,
        request: Request,
        endpoint: Endpoint,
        settings: IngestSettings,
        source: KnownSource,
        split: Split,
        body: bytes,
        at_ms: int,
    ) -> LineBuilder:
        address = client_ip(request, settings.trusted_proxies, settings.trusts_unix)
        via = via_json(request, endpoint.path, address, retries(request))
        head = Head(self.received_at(at_ms), source.json, via)
        return LineBuilder(settings, head, split, b"\n" in body or b"\r" in body)

    def stored(self, source: KnownSource, builder: LineBuilder, count: int) -> None:
        if builder.dropped_sent_at:
            self._metrics.add(names.NOTED, "sent_at_too_long")
        self._metrics.add(names.RECEIVED, source.name, n=count)

    def split(self, body: bytes, single: bool) -> Split | None:
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
        if (
            len(body) > 2 * MAX_COMMAS and body.count(b",") > MAX_COMMAS
        ):  # something stands between two commas
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
                self.compare(named, split.key)
            return named
        try:
            key = raw_key(split.key) or query_key(request.query) or _first_key(split)
            source = by_key(settings, key)
        except Refused as refused:
            if self._unknown(refused, settings):
                return None
            raise
        return source if self.admits(source, request, settings) else None

    def admits(self, source: KnownSource, request: Request, settings: IngestSettings) -> bool:
        """Whether a request that has this source's key is taken; False where it is answered 200 and dropped.

        Raises Refused: 401 source_disabled and missing_token, 403 origin_not_allowed and wrong_app, 429
        rate_limited, 511 invalid_token.
        """
        if not source.guarded:
            return True
        if not source.enabled:
            if settings.disabled_source == 401:
                raise Refused(401, "source_disabled", f"the source {source.name} is disabled")
            self._metrics.add(names.NOTED, "source_disabled")
            self._log.debug("a request for a disabled source was answered and dropped", source=source.name)
            return False
        self.check_origin(request, source)
        if source.oauth:
            check_token(source, request.headers.get("authorization", ""), self._oauth)
        wait = None
        if source.rate_by_address is not None:
            address = network(client_ip(request, settings.trusted_proxies, settings.trusts_unix))
            wait = self._limit.take(f"{source.name} {address}", source.rate_by_address)
        if wait is None and source.rate is not None:
            wait = self._limit.take(source.name, source.rate)
        if wait is not None:
            raise rate_limited(wait)
        return True

    def check_origin(self, request: Request, source: KnownSource) -> None:
        """Raises Refused (403) where the source does not take requests of this page."""
        origin = request.headers.get("origin")
        if origin is not None and source.origins and not source.origins.allow(origin):
            page = legible(origin)[:MAX_ORIGIN]
            message = f"pages of {page} may not send to the source {source.name}: see its allowed_origins"
            raise Refused(403, "origin_not_allowed", message)

    def received_at(self, ms: int) -> bytes:
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

    def compare(self, source: KnownSource, in_body: Raw) -> None:
        key = raw_key(in_body)
        if key is not None and key != source.write_key:
            self._metrics.add(names.NOTED, "write_key_conflict")
            self._log.debug(
                "the write keys of header and body differ; the header's counts", source=source.name
            )


def unstored() -> Refused:
    """The log itself tells of it, once: on a full disk every request comes here."""
    message = "the events could not be stored; send the same request again"
    return Refused(503, "log_unavailable", message, retry_after=APPEND_RETRY)


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
