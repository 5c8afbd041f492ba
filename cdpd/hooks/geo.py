"""Fills in where the address in `context.ip` is, from a MaxMind DB file (City, Country, Enterprise, ASN or ISP).

    [hooks.geo]
    path = "/var/lib/GeoIP/GeoLite2-City.mmdb"

| | filled in | when |
| --- | --- | --- |
| `context.location` | `country`, `region`, `city`, `latitude`, `longitude` | the event has none of these five |
| `context.timezone` | the tzdata name | it is missing, and so was the location or it is not wanted |
| `context.network` | `asn`, `organization` | the event has neither |

Missing is what is absent, null or "". A location is filled in whole or not at all: half of where the event says it was
and half of where its address is would be nowhere. Other keys, like `location.speed` and `network.carrier`, stay.
Addresses that are nobody's on the internet (private, loopback, reserved,
`0.0.0.0`) are passed over. For two databases list the plugin twice: `[hooks.asn]` with `use = "geo"`. Belongs
after `ip`; where that shortens addresses, places are looked up by what is left.

The file is read again when it was replaced; one that cannot be used leaves the old one in use, and the log says so.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import anyio.to_thread
import msgspec
from maxminddb import InvalidDatabaseError, Reader
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from cdpd.config.duration import parse_duration
from cdpd.event import Event
from cdpd.hooks.places import record
from cdpd.hooks.places.database import DatabaseError, Signature, clear_copies, open_database
from cdpd.hooks.remembered import Remembered, Steps
from cdpd.hookspecs import hookimpl
from cdpd.plugins import Plugin, PluginEnv
from cdpd.section import Section

_LONGEST: Final = 64
"""Bytes of an address as JSON; IPv6 with all digits, a mapped IPv4 and quotes has 47."""
_PLACE: Final = ("country", "region", "city", "latitude", "longitude")
_NETWORK: Final = ("asn", "organization")


class _Context(Struct):
    """What is looked at in `context`."""

    ip: Raw | UnsetType = UNSET
    location: Raw | UnsetType = UNSET
    timezone: Raw | UnsetType = UNSET
    network: Raw | UnsetType = UNSET


_look_into: Final = msgspec.json.Decoder(_Context).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


class _Found(Struct, frozen=True):
    """What is filled in for an address."""

    location: dict[str, Any]
    timezone: str
    network: dict[str, Any]
    text: bytes
    """All of it as it is put to the end of a context that has nothing of it."""


class Geo(Plugin):
    """Fills in location, time zone and network of an event's address from a MaxMind DB file."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        path: Path
        """The database, a `.mmdb` file: City, Country, Enterprise, ASN or ISP."""
        fields: list[Literal["location", "timezone", "network"]] = field(
            default_factory=lambda: ["location", "timezone", "network"]
        )
        """What of `context` is filled in, as far as the database has it: `location`, `timezone`, `network`."""
        codes: bool = False
        """True: country and region as ISO 3166 codes (`DE`, `BE`) instead of names."""
        language: str = "en"
        """Of the names, as the database calls it (`de`, `pt-BR`, `zh-CN`); English where it has no such name."""
        check: str = "60s"
        """How often the file is looked at, to read it again when it was replaced; at least 1s."""
        cache: Annotated[int, Meta(ge=1000, le=1_000_000)] = 10_000
        """How many addresses are remembered; each takes about 1 KB."""

        def __post_init__(self) -> None:
            if not self.fields:
                raise ValueError("fields: the list is empty, so nothing would be filled in")
            if parse_duration(self.check) < 1:
                raise ValueError(f"check: {self.check!r} is too often: write 1s or more")

    def __init__(self, config: Any, env: PluginEnv) -> None:
        super().__init__(config, env)
        self._path: Path = config.path
        self._fields: tuple[str, ...] = tuple(dict.fromkeys(config.fields))
        self._every = parse_duration(config.check)
        self._look_at = 0.0
        """When the file is looked at next, on the monotonic clock."""
        self._last: Signature | None = None
        """The file that was last tried."""
        self._warned = False
        self._reader: Reader
        self._found: Remembered[bytes, _Found]
        """By address, as JSON."""

    # -- the file ------------------------------------------------------------------------------------------------

    @hookimpl
    async def cdpd_startup(self) -> None:
        """Raises DatabaseError."""
        clear_copies(self.state())
        self._use(*await anyio.to_thread.run_sync(self._open))

    @hookimpl
    def cdpd_shutdown(self) -> None:
        self._reader.close()

    @hookimpl
    def cdpd_prepare(self) -> Awaitable[None] | None:
        now = self.env.clock.monotonic()
        if now < self._look_at:
            return None
        self._look_at = now + self._every  # first of all: should reading be too slow, the events go on
        return self._look_again()

    async def _look_again(self) -> None:
        now: Signature | None = None
        try:
            now = await anyio.to_thread.run_sync(self._signature)
            if now == self._last:
                return
            reader, signature = await anyio.to_thread.run_sync(self._open)
        except DatabaseError as error:
            if now is None or not isinstance(error.__cause__, OSError):
                self._last = now  # told once; but a disk that is full may have room later
            self.env.log.error("a new database cannot be used; the old one stays in use", error=str(error))
            return
        old = self._reader
        self._use(reader, signature)
        old.close()
        self.env.log.info("the database was replaced and read again", path=str(self._path))

    def _signature(self) -> Signature | None:
        """None where there is no file."""
        try:
            return Signature.of(self._path.stat())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatabaseError(f"{self._path} cannot be looked at: {error}") from error

    def _open(self) -> tuple[Reader, Signature]:
        return open_database(self._path, self.env.state_dir)

    def _use(self, reader: Reader, signature: Signature) -> None:
        self._reader, self._last, self._warned = reader, signature, False
        self._found = Remembered(self.config.cache, self._find)
        self._look_at = self.env.clock.monotonic() + self._every

    # -- events --------------------------------------------------------------------------------------------------

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        context = event.raw_field("context")
        if context is None:
            return
        text = bytes(context)
        if text[0] != 0x7B:
            return
        seen = _look_into(context)
        if seen.ip is UNSET:
            return
        address = bytes(seen.ip)
        if address[0] != 0x22 or len(address) > _LONGEST:
            return
        found = self._found.get(address)
        if not found.text:
            return
        if seen.location is UNSET and seen.timezone is UNSET and seen.network is UNSET:
            # Put at the end, without taking the section apart.
            event.put_raw("context", Raw(b"%b,%b}" % (text[:-1], found.text)))
        else:
            self._fill(event.context, found)

    def _fill(self, context: Section, found: _Found) -> None:
        elsewhere = "location" in self._fields and not _fill(context, "location", found.location, _PLACE)
        if found.timezone and not elsewhere and context.get("timezone") in (None, ""):
            context["timezone"] = found.timezone
        _fill(context, "network", found.network, _NETWORK)

    def _find(self, key: bytes) -> Steps[_Found]:
        yield
        known = self._record(_decode_text(key))
        wanted = self._fields
        config = self.config
        location = record.location(known, config.language, config.codes) if "location" in wanted else {}
        timezone = record.timezone(known) if "timezone" in wanted else ""
        network = record.network(known) if "network" in wanted else {}
        whole = {"location": location, "timezone": timezone, "network": network}
        text = bytes(_encode({name: value for name, value in whole.items() if value}))[1:-1]
        return _Found(location, timezone, network, text)

    def _record(self, text: str) -> dict[str, Any]:
        """The database's record; empty where it has none, or for what is no address on the internet."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return {}
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not address.is_global or (address.version == 6 and self._reader.metadata().ip_version == 4):
            return {}
        try:
            found = self._reader.get(address)
        except InvalidDatabaseError as error:
            if not self._warned:
                self._warned = True
                text = "the database is damaged: some addresses cannot be looked up"
                self.env.log.error(text, path=str(self._path), error=str(error))
            return {}
        return found if isinstance(found, dict) else {}


def _fill(context: Section, name: str, facts: dict[str, Any], whole: Sequence[str]) -> bool:
    """Put facts into a section that has none of `whole`; False where it has, or is of another kind."""
    own = context.get(name)
    if own is None or own == "":
        if facts:
            context[name] = facts
        return True
    if not isinstance(own, Section) or any(own.get(key) not in (None, "") for key in whole):
        return False
    for key, fact in facts.items():
        own[key] = fact
    return True
