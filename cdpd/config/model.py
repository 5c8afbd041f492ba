"""The configuration's shape: every section and key of cdpd.toml, with defaults and units.

`[hooks.NAME]` and `[destinations.NAME]` stay plain tables here: their shape is the plugin's own Config.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from cdpd.config.alerts import AlertConfig
from cdpd.config.functions import FunctionSetup
from cdpd.config.roles import ROLES, Role
from cdpd.secret import Secret

DEFAULT_HOOKS = ("spec", "dedup", "ip")
"""Stage order of spec/connections.md §1."""

Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class TlsConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[http.tls]: the certificate of the listeners that are written `https://HOST:PORT`."""

    certificate: str | dict[str, str]
    """File (PEM) of the certificate with its chain, or `{ credential = "name" }`. A reload reads it again."""
    key: str | dict[str, str]
    """File (PEM, without a passphrase) of its private key, or `{ credential = "name" }`, `{ env = "NAME" }`."""


class HttpConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[http]: the tracking API."""

    listen: str | list[str] = "127.0.0.1:8080"
    """HOST:PORT, `https://HOST:PORT` or `unix:/path`, or a list of them; `[::]:8080` for IPv6, `:8080` for every
    address. Sockets that systemd hands over (`cdpd.socket`) take its place."""
    unix_mode: str = "0660"
    """Rights of a Unix socket's file: who may write to it may send."""
    tls: TlsConfig | None = None
    """What `https://` listeners need."""
    public_url: str | None = None
    """How browsers reach this daemon, e.g. `https://cdp.example.com`; goes into the settings document."""
    trusted_proxies: list[str] = []
    """Addresses or networks (CIDR) whose `X-Forwarded-For` is believed; `unix`: whoever comes by a Unix socket."""
    unknown_key: Literal[200, 401] = 401
    """Status for a missing or unknown write key."""
    disabled_source: Literal[200, 401] = 200
    """Status for a source that is not enabled."""
    analytics_js: str | None = None
    """File or folder (`dist/umd`) of the npm package `@segment/analytics-next`, to be served to browsers at
    `/analytics.js/v1/KEY/analytics.min.js`."""
    max_event_bytes: Bytes = 32 * 1024
    """Largest single event as received."""
    max_batch_bytes: Bytes = 4 * 1024 * 1024
    """Largest request body, decompressed."""
    max_in_flight_bytes: Bytes = 128 * 1024 * 1024
    """Bodies being read or written, over all connections; beyond it: 503."""
    max_depth: Count = 64
    """Deepest nesting of an event."""
    header_timeout: Seconds = 10.0
    """Seconds for a request's header."""
    body_timeout: Seconds = 30.0
    """Seconds for a request's whole body."""
    keepalive_timeout: Seconds = 75.0
    """Seconds that an idle connection is kept."""


class SourceConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[sources.NAME]"""

    write_keys: list[str]
    """What its SDKs are given: says which source an event is from. Several, so that one can be replaced."""
    type: str | None = None
    """`javascript`, `android`, `ios`, `mobile`, `server` …: decides whether the client's address is filled
    in as the event's `context.ip`. Default: what each request shows."""
    enabled: bool = True
    """False: requests are answered with `disabled_source` of [http] and counted, nothing is kept."""
    labels: dict[str, str] = {}
    """Your own marks, like `{ environment = "prod" }`; hooks see them."""
    allowed_origins: list[str] = []
    """Websites whose pages may send, like `https://www.example.com` or `https://*.example.com`; any where empty.
    Requests without an `Origin` (servers, apps) are always taken."""
    strict_limits: bool = False
    """True: Segment's own limit of 500 KiB a request instead of `max_batch_bytes`; more is answered 400."""
    rate_limit: str | None = None
    """Requests of this source, like `1000/s` or `60000/m`; beyond it: 429."""
    rate_limit_by_address: str | None = None
    """Requests of one client address to this source (of IPv6: one /64), like `50/s`; beyond it: 429."""
    oauth: list[str] = []
    """Apps ([oauth.NAME]): a request needs a token of one of them besides the write key."""
    hooks: list[str] | None = None
    """The hook chain of this source, instead of [pipeline] hooks."""
    function: str | FunctionSetup | None = None
    """A source function, which turns webhooks (`POST /v1/fn/WRITE_KEY`) into events: a Python file, or
    `{ file = "…", settings = {…}, timeout = 5 }` (cdpd/functions/README.md). It is trusted code."""
    insert: str | FunctionSetup | None = None
    """An insert function, which changes this source's events or drops them before all other hooks but `spec` and
    `dedup`; written as `function`."""


class PublicKey(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One of an app's keys in [oauth.NAME]; `pem` or `file`."""

    kid: str
    """The key's id, which assertions name in their header."""
    pem: str | None = None
    """The public key (RSA) itself, PEM."""
    file: str | None = None
    """A file that holds it."""


class OAuthAppConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[oauth.NAME]: NAME is the client id of the app."""

    keys: list[PublicKey]
    """Its public keys, `{ kid = "…", file = "…" }`; two, so that one can be replaced."""
    scopes: list[str] = field(default_factory=lambda: ["tracking_api:write"])
    """What its tokens may be asked for."""
    token_lifetime: str = "1d"
    """How long a token is good: 1 minute to 30 days."""
    audience: list[str] = []
    """Names of this server (`aud`) that its assertions may give. Default: `public_url` and where we listen."""


class DataConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[data]"""

    dir: str | None = None
    """The data folder. Default: $STATE_DIRECTORY, else ./cdpd-data."""


class StreamConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[log.received], [log.events], [log.discarded]"""

    keep: str | None = None
    """How long, e.g. `7d`, `12h`; `forever`. Defaults: received 7d, discarded 30d, events forever."""
    keep_bytes: Bytes | None = None
    """Largest size in bytes; the oldest segments go first."""


class LogConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[log]"""

    segment_bytes: Bytes = 64 * 1024 * 1024
    """A segment is closed at this size …"""
    segment_age: str = "1h"
    """… or this age."""
    min_free: str = "256MiB"
    """How much of the disk stays free, like `1GiB` or `2%` (of its size): below it requests are answered 503, so that
    what was taken can still be processed and delivered. `0`: until nothing is left."""
    recompress: bool = True
    """Closed segments are compressed again in the background, in larger pieces; what was written in small ones ends at
    a third of its size."""
    received: StreamConfig = StreamConfig()
    events: StreamConfig = StreamConfig()
    discarded: StreamConfig = StreamConfig()


class ProcessConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[process]"""

    roles: list[list[Role]] = field(default_factory=lambda: [list(ROLES)])
    """Which parts of the daemon share a process: a list for each process, every part in one of them. Default: all in
    one. `[["ingest"], ["process", "deliver"]]` uses a second core; ingest then goes on while the others restart."""


class DeliveryConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[delivery]: what holds for every destination."""

    keep_parked: str = "30d"
    """How long an event that a destination refused is kept for another try, e.g. `90d`; `forever`. Those that will go
    are named in the log a day before, and when they go."""


class PipelineConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[pipeline]"""

    hooks: list[str] = field(default_factory=lambda: list(DEFAULT_HOOKS))
    """Instances of hook plugins, in the order in which they run."""
    prepare_timeout: Seconds = 5.0
    """Seconds that one cdpd_prepare may take."""
    slow_hook_ms: Annotated[float, Meta(gt=0)] = 20.0
    """A hook that holds the loop longer than this is named in the log."""
    stop_after_failures: Count = 1000
    """So many failures of one plugin in a row stop the pipeline, lest it pour the stream into discarded."""


class LoggingConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[logging]"""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is said: this, and what is graver."""
    format: Literal["auto", "json", "pretty"] = "auto"
    """`auto`: pretty on a terminal, JSON elsewhere."""


class MetricsConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """[metrics]: for Prometheus."""

    listen: str | None = None
    """HOST:PORT, like `127.0.0.1:9187`, or `unix:/path`: where `/metrics` is served apart from the tracking API."""
    token: Secret | None = None
    """Serves `/metrics` at the tracking API too, for whoever sends it: `Authorization: Bearer TOKEN`. Where it is
    set, `listen` asks for it as well."""


class Config(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """cdpd.toml, whole."""

    http: HttpConfig = HttpConfig()
    data: DataConfig = DataConfig()
    log: LogConfig = LogConfig()
    logging: LoggingConfig = LoggingConfig()
    metrics: MetricsConfig = MetricsConfig()
    process: ProcessConfig = ProcessConfig()
    pipeline: PipelineConfig = PipelineConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    sources: dict[str, SourceConfig] = {}
    oauth: dict[str, OAuthAppConfig] = {}
    hooks: dict[str, dict[str, Any]] = {}
    destinations: dict[str, dict[str, Any]] = {}
    alerts: dict[str, AlertConfig] = {}
