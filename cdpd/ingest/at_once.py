"""Ordinary requests of events, answered without a task of their own.

Nearly every request has its key in the header, has come whole, is not compressed and is plain JSON. Nothing about it
has to be waited for but the disk, and that may call back. Anything else is for Tracking.take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.ingest.express import ExpressRequest
from cdpd.ingest.in_flight import Charge, InFlight
from cdpd.ingest.key_use import KeyUse
from cdpd.ingest.line import Head, LineBuilder
from cdpd.ingest.refusal import Refused, overloaded
from cdpd.ingest.request import Request
from cdpd.ingest.settings import IngestSettings, KnownSource
from cdpd.ingest.tracking import SLICE, Endpoint, Tracking, unstored
from cdpd.ingest.via import client_ip, retries, via_json
from cdpd.metrics import Metrics

AppendThen = Callable[[Sequence[bytes], int, Callable[[str | None], None]], None]
"""The same without waiting: calls back with None, or with why they are not durable."""
AT_ONCE: Final = 256 * 1024
"""Bytes of a batch up to which its lines are made as it comes; a larger one gets a task."""


class Plan(Struct, frozen=True):
    """What one head means for all requests that have it, of one peer and under one configuration."""

    settings: IngestSettings
    peer: str
    source: KnownSource | None
    """None: such requests are not for `take_at_once`."""
    via: bytes = b""
    largest: int = 0
    """Bytes of a body that is taken at once."""
    again: bool = False
    """The client says that it has sent this before."""


class AtOnce:
    """Takes ordinary requests, beside a Tracking that takes all others."""

    def __init__(
        self,
        tracking: Tracking,
        append: AppendThen,
        clock: Clock,
        metrics: Metrics,
        in_flight: InFlight,
        keys: KeyUse,
    ) -> None:
        self._tracking = tracking
        self._append = append
        self._clock = clock
        self._monotonic = clock.monotonic
        self._metrics = metrics
        self._in_flight = in_flight
        self._keys = keys

    def take(
        self,
        request: ExpressRequest,
        endpoint: Endpoint,
        settings: IngestSettings,
        then: Callable[[Refused | None], None],
    ) -> bool:
        """The same without a task, for an ordinary request: `then` is called once its events are durable, or refused.

        False, and nothing done, where `take` has to: where anything has to be waited for, mended or asked.
        """
        body = request.body
        plan: Plan | None = request.head.plan
        if plan is None or plan.settings is not settings or plan.peer != request.peer:
            plan = request.head.plan = self._plan(request, endpoint, settings)
        source = plan.source
        if (
            self._tracking.closed is not None
            or source is None
            or body is None
            or len(body) > plan.largest
            or body[:1] not in (b"{", b" ")
        ):
            return False
        charge = Charge(self._in_flight)
        at_ms = self._clock.now_ms()
        try:
            split = self._tracking.split(body, endpoint.single) if charge.add(len(body)) else None
            if split is None or not 0 < len(split.events) <= 2 * SLICE:
                charge.release()
                return False
            head = Head(self._tracking.received_at(at_ms), source.json, plan.via)
            builder = LineBuilder(settings, head, split, b"\n" in body or b"\r" in body)
            lines = builder.build(split.events)
            if not charge.add(builder.size):
                raise overloaded()
        except Exception:  # noqa: BLE001 - `take` meets the same, and tells of it
            charge.release()
            return False
        if split.key is not None:
            self._tracking.compare(source, split.key)

        def ended(failure: str | None) -> None:
            charge.release()
            if failure is None:
                self._tracking.appends.observe(self._monotonic() - began)
                self._tracking.stored(source, builder, len(lines))
            then(None if failure is None else unstored())

        self._keys.note(source.write_key, at_ms)
        if plan.again:
            self._metrics.add(names.CLIENT_RETRIES, source.name)
        began = self._monotonic()
        self._append(lines, settings.config_id, ended)
        return True

    def _plan(self, request: Request, endpoint: Endpoint, settings: IngestSettings) -> Plan:
        headers = request.headers
        source = settings.basic.get(headers.get("authorization", ""))
        again = retries(request)
        if (
            source is None
            or source.guarded
            or "content-encoding" in headers
            or "transfer-encoding" in headers
        ):
            return Plan(settings, request.peer, None)
        address = client_ip(request, settings.trusted_proxies, settings.trusts_unix)
        via = via_json(request, endpoint.path, address, again)
        largest = settings.max_event_bytes if endpoint.single else AT_ONCE
        return Plan(
            settings, request.peer, source, via, min(largest, settings.largest_body(source)), again > 0
        )
