"""Fills in `context.ip` with the client's address, for events that come from people's devices.

Source: wire.md §10 and event-spec.md §7. An address that the event has already is never overwritten, `0.0.0.0`
(the documented way to opt out) included. Which events are from a device: devices.py. Any sender may ask for it
with `context.direct = true`. `context.direct` never goes further.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cdpd.event import Event
from cdpd.hooks.devices import from_device
from cdpd.hookspecs import hookimpl
from cdpd.plugins import Plugin, PluginEnv, Source

_NULL: Final = Raw(b"null")
_TRUE: Final = Raw(b"true")
_EMPTY_STRING: Final = Raw(b'""')


class _Context(Struct):
    """What is looked at in `context`."""

    ip: Raw | UnsetType = UNSET
    direct: Raw | UnsetType = UNSET
    library: Raw | UnsetType = UNSET


_look_into: Final = msgspec.json.Decoder(_Context).decode
_encode: Final = msgspec.json.Encoder().encode
_decode_text: Final = msgspec.json.Decoder(str).decode


class Ip(Plugin):
    """Fills in `context.ip` for events from people's devices."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        enabled: bool = True
        """False: no address is filled in."""
        anonymize: bool = False
        """Every address, filled in or sent, loses its end: the last octet of IPv4, the last 80 bits of IPv6."""

    def __init__(self, config: Any, env: PluginEnv) -> None:
        super().__init__(config, env)
        self._enabled: bool = config.enabled
        self._anonymize: bool = config.anonymize

    @hookimpl
    def cdpd_enrich(self, event: Event, source: Source) -> None:
        raw = event.raw_field("context")
        text = b"" if raw is None else bytes(raw)
        if raw is None or text[0] != 0x7B:
            if self._enabled and from_device(event, source, UNSET):
                self._fill(event)
            return
        seen = _look_into(raw)
        if seen.direct is not UNSET:
            direct = seen.direct == _TRUE
            del event.context["direct"]
        else:
            direct = False
        if seen.ip is UNSET or seen.ip in (_NULL, _EMPTY_STRING):
            if not self._enabled or not (direct or from_device(event, source, seen.library)):
                return
            if seen.ip is UNSET and seen.direct is UNSET:
                address = self._address(event)
                if address:  # put at the end, without taking the section apart
                    inner = text[1:-1]
                    comma = b"," if inner.strip() else b""
                    event.put_raw("context", Raw(b'{%b%b"ip":%b}' % (inner, comma, _encode(address))))
            else:
                self._fill(event)
        elif self._anonymize:
            self._shorten(event, seen.ip)

    def _fill(self, event: Event) -> None:
        address = self._address(event)
        if address:
            event.context["ip"] = address

    def _address(self, event: Event) -> str:
        """The client's address; "" where there is none that may be shown."""
        assert event.received is not None
        address = event.received.via.ip
        if not self._anonymize or not address:
            return address
        try:
            return anonymous(ipaddress.ip_address(address))
        except ValueError:
            return ""

    def _shorten(self, event: Event, ip: Raw) -> None:
        try:
            address = ipaddress.ip_address(_decode_text(ip))
        except (msgspec.DecodeError, ValueError):
            return  # not an address: it stays as it was sent
        event.context["ip"] = anonymous(address)


def anonymous(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Without the last octet (IPv4) or the last 80 bits (IPv6)."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    bits = 8 if isinstance(address, ipaddress.IPv4Address) else 80
    kept = int(address) >> bits << bits
    return str(type(address)(kept))
