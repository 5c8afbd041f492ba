"""What ingest takes from the configuration, ready for the hot path."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from cdpd.config.model import Config, SourceConfig
from cdpd.config.rate import Rate, parse_rate
from cdpd.config.rules import UNIX_PEER
from cdpd.ingest.browser_library import BrowserLibrary
from cdpd.ingest.origins import Origins

MAX_EVENTS: Final = 2500
"""Events of one batch that are taken; the others are rejected one by one (wire.md §6)."""
STRICT_BATCH_BYTES: Final = 500 * 1024
"""The largest body of a source with `strict_limits`: what Segment takes (wire.md §6)."""
EXPANSION: Final = 4
"""A request's lines may come to so many times max_batch_bytes once its shared context stands in each event."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class KnownSource(Struct, frozen=True):
    """A source as a request finds it by its write key."""

    name: str
    json: bytes
    """The name as JSON text."""
    write_key: str
    enabled: bool
    guarded: bool = False
    """Whether there is anything to ask but the key: what follows."""
    origins: Origins = Origins(())
    rate: Rate | None = None
    rate_by_address: Rate | None = None
    oauth: frozenset[str] = frozenset()
    """Apps of which a token is needed."""
    strict: bool = False

    @classmethod
    def of(cls, name: str, key: str, source: SourceConfig) -> KnownSource:
        """A source as it is known by one of its keys."""
        origins = Origins(source.allowed_origins)
        rate, by_address = _rate(source.rate_limit), _rate(source.rate_limit_by_address)
        plain = source.enabled and not origins and rate is by_address is None and not source.oauth
        return cls(
            name,
            msgspec.json.encode(name),
            key,
            source.enabled,
            not plain,
            origins,
            rate,
            by_address,
            frozenset(source.oauth),
            source.strict_limits,
        )


class IngestSettings(Struct, frozen=True):
    """One configuration's worth of ingest; replaced whole by a reload."""

    config_id: int
    sources: Mapping[str, KnownSource]
    """By write key."""
    basic: Mapping[str, KnownSource]
    """By the usual texts of an `Authorization: Basic` header, so that most requests cost one look-up."""
    has_apps: bool
    """Whether there are OAuth apps to give tokens to."""
    unknown_key: int
    disabled_source: int
    max_event_bytes: int
    max_batch_bytes: int
    max_in_flight_bytes: int
    max_depth: int
    header_timeout: float
    body_timeout: float
    keepalive_timeout: float
    trusted_proxies: tuple[Network, ...]
    trusts_unix: bool
    """Whether what comes by a Unix socket is from a proxy."""
    api_host: str | None
    """`host[:port]/v1` for the settings document; None where no public_url is configured."""
    protocol: str | None
    library: BrowserLibrary | None = None
    """analytics.js, where it is served."""
    clients: Mapping[str, Mapping[str, Any]] = {}
    """Source → display name of a destination → what browsers are told of it."""

    def largest_body(self, source: KnownSource | None) -> int:
        """Bytes that a body may have, decompressed; of a source that is not known yet what any may have."""
        if source is not None and source.strict:
            return min(STRICT_BATCH_BYTES, self.max_batch_bytes)
        return self.max_batch_bytes

    @property
    def max_lines_bytes(self) -> int:
        """Bytes that the lines of one request may come to."""
        return self.max_batch_bytes * EXPANSION

    @classmethod
    def of(
        cls,
        config: Config,
        config_id: int,
        library: BrowserLibrary | None = None,
        clients: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> IngestSettings:
        """Settings of a valid configuration. Raises ValueError for a proxy that is no address or network."""
        http = config.http
        sources = {
            key: KnownSource.of(name, key, source)
            for name, source in config.sources.items()
            for key in source.write_keys
        }
        api_host, protocol = _public(http.public_url)
        return cls(
            config_id=config_id,
            sources=sources,
            basic={text: source for key, source in sources.items() for text in _basic_texts(key)},
            has_apps=bool(config.oauth),
            unknown_key=http.unknown_key,
            disabled_source=http.disabled_source,
            max_event_bytes=http.max_event_bytes,
            max_batch_bytes=http.max_batch_bytes,
            max_in_flight_bytes=http.max_in_flight_bytes,
            max_depth=http.max_depth,
            header_timeout=http.header_timeout,
            body_timeout=http.body_timeout,
            keepalive_timeout=http.keepalive_timeout,
            trusted_proxies=tuple(
                ipaddress.ip_network(text, strict=False) for text in http.trusted_proxies if text != UNIX_PEER
            ),
            trusts_unix=UNIX_PEER in http.trusted_proxies,
            api_host=api_host,
            protocol=protocol,
            library=library,
            clients=clients or {},
        )


def _rate(text: str | None) -> Rate | None:
    return None if text is None else parse_rate(text)


def _basic_texts(key: str) -> tuple[str, str]:
    return (
        "Basic " + base64.b64encode(f"{key}:".encode()).decode(),
        "Basic " + base64.b64encode(key.encode()).decode(),
    )


def _public(url: str | None) -> tuple[str | None, str | None]:
    if url is None:
        return None, None
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path.rstrip('/')}/v1", parts.scheme
