"""`POST /v1/fn/WRITE_KEY`: requests of other services, which a source's function turns into events.

Source: spec/connections.md §9.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from cdpd.clock import Clock
from cdpd.ingest.auth import by_header, by_key, query_key
from cdpd.ingest.body import read_body
from cdpd.ingest.in_flight import Charge, InFlight
from cdpd.ingest.refusal import Refused
from cdpd.ingest.request import Request
from cdpd.ingest.settings import IngestSettings, KnownSource
from cdpd.ingest.tracking import Tracking
from cdpd.ingest.via import client_ip, legible, retries, via_json

PATH: Final = "/v1/fn"
LARGEST: Final = 512 * 1024
"""Bytes of a body, decompressed."""
KINDS: Final = ("application/json", "application/x-www-form-urlencoded")


class Functions(Protocol):
    """The source functions of a daemon (cdpd/functions/source.py)."""

    def has(self, source: str) -> bool:
        """Whether the source has a function."""
        ...

    async def take(
        self,
        source: KnownSource,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        via: bytes,
        settings: IngestSettings,
    ) -> None:
        """Return once what the function made of the request is durable, or the request itself is. Raises Refused."""
        ...


class Webhooks:
    """Takes them."""

    def __init__(
        self, tracking: Tracking, in_flight: InFlight, clock: Clock, functions: Functions | None
    ) -> None:
        self._tracking = tracking
        self._in_flight = in_flight
        self._clock = clock
        self._functions = functions

    async def take(self, request: Request, settings: IngestSettings, key: str | None) -> None:
        """`key`: out of the path; None: it is in the header or in the query. Raises Refused."""
        source = by_key(settings, key) if key is not None else by_header(settings, _basic(request))
        source = source or by_key(settings, query_key(request.query))
        if self._functions is None or not self._functions.has(source.name):
            text = f"the source {source.name} has no function: name one in [sources.{source.name}]"
            raise Refused(404, "no_function", text)
        if not self._tracking.admits(source, request, settings):
            return
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in KINDS:
            raise Refused(415, "unsupported_content_type", f"send {KINDS[0]} or {KINDS[1]}")
        if self._tracking.closed is not None:
            raise self._tracking.closed()
        charge = Charge(self._in_flight)
        try:
            body = await read_body(request, charge, LARGEST)
            self._tracking.keys.note(source.write_key, self._clock.now_ms())
            headers = {name.lower(): legible(value) for name, value in request.headers.items()}
            query = f"?{legible(request.query)}" if request.query else ""
            host = headers.get("host", "localhost")
            url = f"{settings.protocol or 'http'}://{host}{PATH}/{source.name}{query}"
            address = client_ip(request, settings.trusted_proxies, settings.trusts_unix)
            via = via_json(request, PATH, address, retries(request))
            await self._functions.take(source, url, headers, body, via, settings)
        finally:
            charge.release()


def _basic(request: Request) -> str | None:
    """The Authorization header where it may hold a write key; others are the function's business."""
    text = request.headers.get("authorization")
    return text if text is not None and text.lower().startswith("basic ") else None
