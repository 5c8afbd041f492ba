"""`POST /v1/set`: up to ten objects, for warehouses. All of them are taken, or none.

Source: spec/connections.md §10, spec/warehouses.md §8. The answer always waits until the objects are durable in their
order, so that the header `Synchronous: true` asks for nothing more.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from msgspec import Raw, Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.ingest.auth import by_header, by_key, query_key, raw_key
from cdpd.ingest.body import read_body
from cdpd.ingest.in_flight import Charge, InFlight
from cdpd.ingest.line import Head
from cdpd.ingest.mend import mend
from cdpd.ingest.object_line import object_line
from cdpd.ingest.refusal import Refused, invalid_json, overloaded, too_large
from cdpd.ingest.request import Request
from cdpd.ingest.settings import IngestSettings, KnownSource
from cdpd.ingest.tracking import Tracking
from cdpd.ingest.via import client_ip, retries, via_json
from cdpd.metrics import Metrics
from cdpd.objects import LARGEST_OBJECT, MOST, WrongObject, checked_collection, checked_object, set_event

PATH: Final = "/v1/set"
_LARGEST: Final = MOST * LARGEST_OBJECT
"""Bytes of a body that could be taken."""


class _Body(Struct):
    """Each member undecoded; empty where there is none."""

    collection: Raw = Raw()
    objects: Raw = Raw()
    writeKey: Raw = Raw()


_decode: Final = msgspec.json.Decoder(_Body).decode
_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode


class Objects:
    """Takes them."""

    def __init__(self, tracking: Tracking, in_flight: InFlight, clock: Clock, metrics: Metrics) -> None:
        self._tracking = tracking
        self._in_flight = in_flight
        self._clock = clock
        self._metrics = metrics

    async def take(self, request: Request, settings: IngestSettings) -> None:
        """Returns once the request's objects are durable. Raises Refused."""
        source = by_header(settings, request.headers.get("authorization"))
        charge = Charge(self._in_flight)
        try:
            body = await read_body(request, charge, min(_LARGEST, settings.largest_body(source)))
            found, counts = whole(body)
            for code, n in counts.items():
                self._metrics.add(names.NOTED, code, n=n)
            if source is None:
                source = by_key(settings, raw_key(found.writeKey) or query_key(request.query))
            if not self._tracking.admits(source, request, settings):
                return
            if self._tracking.closed is not None:
                raise self._tracking.closed()
            at_ms = self._clock.now_ms()
            self._tracking.keys.note(source.write_key, at_ms)
            events = _events(found)
            await self._keep(request, settings, source, at_ms, events, charge)
        finally:
            charge.release()

    async def _keep(
        self,
        request: Request,
        settings: IngestSettings,
        source: KnownSource,
        at_ms: int,
        events: list[bytes],
        charge: Charge,
    ) -> None:
        """Raises Refused."""
        if retries(request):
            self._metrics.add(names.CLIENT_RETRIES, source.name)
        address = client_ip(request, settings.trusted_proxies, settings.trusts_unix)
        via = via_json(request, PATH, address, retries(request))
        head = Head(self._tracking.received_at(at_ms), source.json, via)
        lines = [object_line(head, event) for event in events]
        if not charge.add(sum(map(len, lines))):
            raise overloaded()
        await self._tracking.append(lines, settings)
        self._metrics.add(names.RECEIVED_OBJECTS, source.name, n=len(lines))


def mended(body: bytes) -> tuple[bytes, Counter[str]]:
    """The body without what JSON does not allow but clients send; and how often. Raises Refused."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Refused(400, "invalid_encoding", f"the body is not UTF-8 (byte {error.start})") from None
    return mend(body)


def whole(body: bytes) -> tuple[_Body, Counter[str]]:
    """The body's members, undecoded, and what was mended, by code. Raises Refused."""
    body, counts = mended(body)
    try:
        return _decode(body), counts
    except msgspec.ValidationError:
        raise invalid_object('the body must be an object: {"collection", "objects"}') from None
    except msgspec.DecodeError as error:
        raise invalid_json(str(error).removeprefix("JSON is malformed: ")) from None
    except RecursionError:
        raise invalid_object("the body is nested too deep: properties hold no lists or objects") from None


def _events(body: _Body) -> list[bytes]:
    """The objects of a body, checked. Raises Refused."""
    try:
        collection = checked_collection(body.collection or None)
    except WrongObject as error:
        raise invalid_object(str(error)) from None
    try:
        objects = _decode_list(body.objects)
    except msgspec.DecodeError:
        raise invalid_object(f"objects: a list of 1 to {MOST} objects is expected") from None
    if not 1 <= len(objects) <= MOST:
        raise invalid_object(f"objects: {len(objects)} of them; 1 to {MOST} are expected")
    return [_event(collection, raw, i) for i, raw in enumerate(objects)]


def _event(collection: Raw, raw: Raw, at: int) -> bytes:
    text = bytes(raw)
    if len(text) > LARGEST_OBJECT:
        raise too_large(f"objects[{at}]", LARGEST_OBJECT)
    try:
        return set_event(collection, *checked_object(_decode_fields(text)))
    except msgspec.DecodeError:
        raise invalid_object(f'objects[{at}]: {{"id", "properties"}} is expected') from None
    except WrongObject as error:
        raise invalid_object(f"objects[{at}].{error}") from None


def invalid_object(message: str) -> Refused:
    return Refused(400, "invalid_object", message)
