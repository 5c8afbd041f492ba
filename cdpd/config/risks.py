"""Settings that work and may hurt: the warnings of `cdpd check`."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Any, Final

from cdpd.config.address import listens, parse_listen
from cdpd.config.alert_rules import alert_risks
from cdpd.config.duration import parse_keep
from cdpd.config.files import Document
from cdpd.config.locate import Path as KeyPath
from cdpd.config.model import Config, HttpConfig
from cdpd.config.plugin_options import chains
from cdpd.config.rules import UNIX_PEER
from cdpd.config.shape import Fault
from cdpd.config.starter import SAMPLE_KEY

SAMPLE_KEYS: Final = frozenset({SAMPLE_KEY, "wk_dev_mobile_app", "YOUR_WRITE_KEY", "write_key", "changeme"})
"""Write keys that stand in documentation and samples: everybody knows them."""
_DAY: Final = 86400.0
_SHORTEST_TOKEN: Final = 16
_SECRET_WORDS: Final = ("secret", "token", "password", "api_key", "private_key", "credential", "webhook")


def risks(config: Config, document: Document) -> Iterator[Fault]:
    """Every warning, for a configuration without errors."""
    http = config.http
    yield from _listen_risks(http)
    if http.unknown_key == 200:
        yield Fault(
            ("http", "unknown_key"),
            "requests with a wrong write key are answered 200 and lost",
            "use 401, so that a client with a mistyped key hears of it",
        )
    if not any(source.enabled for source in config.sources.values()):
        yield Fault(
            ("sources",),
            "no source is enabled: every request is refused",
            'add [sources.NAME] write_keys = ["…"]',
        )
    yield from _browser_risks(config)
    yield from _key_risks(config)
    yield from _oauth_risks(config)
    yield from _retention_risks(config)
    yield from _hook_risks(config, document.data)
    yield from _metrics_risks(config)
    yield from alert_risks(config)
    yield from _readable_secrets(document)


def _listen_risks(http: HttpConfig) -> Iterator[Fault]:
    places = listens(http.listen)
    for i, place in enumerate(places):
        path: KeyPath = ("http", "listen") if isinstance(http.listen, str) else ("http", "listen", i)
        if place.public and not place.tls and not http.trusted_proxies:
            yield Fault(
                path,
                f"{place} can be reached from other machines, over HTTP without TLS",
                "listen on 127.0.0.1 behind a proxy that speaks TLS, and name it in trusted_proxies",
            )
        if place.path and UNIX_PEER not in http.trusted_proxies:
            yield Fault(
                path,
                "events that come by a Unix socket have no client address: no proxy there is believed",
                f'trusted_proxies = ["{UNIX_PEER}"] takes it from X-Forwarded-For',
            )
    if http.tls is not None and not any(place.tls for place in places):
        yield Fault(
            ("http", "tls"),
            "no address in listen speaks TLS",
            "write https://HOST:PORT there, or FileDescriptorName=https in a socket unit of systemd",
            at_key=True,
        )


def _metrics_risks(config: Config) -> Iterator[Fault]:
    listen, token = config.metrics.listen, config.metrics.token
    if listen is not None and parse_listen(listen).public and token is None:
        yield Fault(
            ("metrics", "listen"),
            "every machine that reaches this address can read the metrics, names of sources and destinations in them",
            "listen on 127.0.0.1, or set [metrics] token",
        )
    if token is not None and len(token.reveal()) < _SHORTEST_TOKEN:
        yield Fault(
            ("metrics", "token"), "a token this short can be guessed", "make one with `openssl rand -hex 16`"
        )


def _browser_risks(config: Config) -> Iterator[Fault]:
    http = config.http
    public = any(place.public for place in listens(http.listen))
    if http.public_url is not None or not (public or http.trusted_proxies):
        return
    for name, source in config.sources.items():
        if source.type == "javascript":
            yield Fault(
                ("sources", name, "type"),
                "browsers that are told only cdnURL send their events to Segment's own servers: no public_url is set",
                'set [http] public_url = "https://…", the address by which browsers reach this daemon',
            )


def _key_risks(config: Config) -> Iterator[Fault]:
    for name, source in config.sources.items():
        for i, key in enumerate(source.write_keys):
            path = ("sources", name, "write_keys", i)
            if key in SAMPLE_KEYS:
                yield Fault(
                    path, f"{key!r} stands in the documentation: anybody can send events with it", _FRESH
                )
            elif len(key) < 8:
                yield Fault(path, "a key this short can be guessed", _FRESH)


def _oauth_risks(config: Config) -> Iterator[Fault]:
    used = {app for source in config.sources.values() for app in source.oauth}
    nameless = config.http.public_url is None and all(
        place.host in _EVERYWHERE for place in listens(config.http.listen)
    )
    for name, app in config.oauth.items():
        if name not in used:
            yield Fault(
                ("oauth", name),
                "no source takes the tokens of this app: it does nothing",
                f'add it to a source: [sources.NAME] oauth = ["{name}"]',
                at_key=True,
            )
        if nameless and not app.audience:
            yield Fault(
                ("oauth", name),
                "only apps on this machine can get a token: by which name others reach this daemon is not set",
                "set [http] public_url, or audience here, to what the app is given as its authorization server",
                at_key=True,
            )
    for name, source in config.sources.items():
        if source.oauth and source.type in _NO_SECRETS:
            yield Fault(
                ("sources", name, "oauth"),
                f"tokens take a private key, which cannot be kept secret in what runs elsewhere ({source.type})",
                "use OAuth for sources of the type server",
            )


_EVERYWHERE: Final = ("", "0.0.0.0", "::")
_NO_SECRETS: Final = ("javascript", "android", "ios", "mobile")
_FRESH: Final = "`cdpd init --print` shows a fresh one"


def _retention_risks(config: Config) -> Iterator[Fault]:
    keep = config.log.received.keep
    seconds = parse_keep(keep) if keep is not None else None
    if seconds is not None and seconds < _DAY:
        yield Fault(
            ("log", "received", "keep"),
            f"what came in is gone after {keep}, so a mistake in a hook found later cannot be put right",
            "keep a day at least (default: 7d)",
        )
    if config.log.events.keep not in (None, "forever") or config.log.events.keep_bytes is not None:
        key = "keep" if config.log.events.keep not in (None, "forever") else "keep_bytes"
        yield Fault(
            ("log", "events", key),
            "the archive loses its oldest events; destinations that are further behind lose them too",
        )


def _hook_risks(config: Config, data: dict[str, Any]) -> Iterator[Fault]:
    listed = {name for _, names in chains(data) for name in names}
    for name in config.hooks:
        if name not in listed:
            yield Fault(
                ("hooks", name),
                "this hook is in no list of hooks: it does nothing",
                f'add "{name}" to [pipeline] hooks',
                at_key=True,
            )
    for path, names in chains(data):
        if "spec" not in names:
            yield Fault(path, 'without "spec" events keep the types, ids and times that the client sent')
        elif names[0] != "spec":
            yield Fault(path, f'"spec" is not the first: {names[0]} sees events that are not normalised')


def _readable_secrets(document: Document) -> Iterator[Fault]:
    for file in document.files:
        try:
            open_to_all = file.path.stat().st_mode & stat.S_IROTH
        except OSError:
            continue
        secret = _plain_secret(file.data, ()) if open_to_all else None
        if secret is not None:
            yield Fault(
                secret,
                f"a secret in a file that every user of this machine can read ({file.path.name})",
                f"chmod o-r {file.path}, or use {{ file = … }}, {{ env = … }} or {{ credential = … }}",
            )


def _plain_secret(value: Any, path: KeyPath) -> KeyPath | None:
    """The first string under a key that sounds like a secret, in sections that may have some."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not path and key not in ("hooks", "destinations", "metrics", "alerts"):
                continue
            found = _plain_secret(item, (*path, key))
            if found is not None:
                return found
    elif isinstance(value, str) and len(path) > 1 and value:
        name = str(path[-1]).lower()
        return path if any(word in name for word in _SECRET_WORDS) else None
    return None
