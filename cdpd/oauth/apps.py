"""Apps: what [oauth.NAME] says, with the keys read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from msgspec import Struct

from cdpd.config.duration import parse_duration
from cdpd.config.model import Config, OAuthAppConfig
from cdpd.config.problem import ConfigError, Problem, key_text
from cdpd.config.public_keys import read_public_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_PLACES: Final = ("", "/v1", "/oauth", "/v1/oauth")
"""What SDKs can be given as the server's address, after its host: each is followed by `/token`."""
_HERE: Final = ("localhost", "127.0.0.1", "[::1]")


class Key(Struct, frozen=True):
    """One of an app's public keys."""

    public: RSAPublicKey
    thumbprint: str
    """Says which key it is, whatever its `kid`: the SHA-256 of its SubjectPublicKeyInfo, hex."""


class App(Struct, frozen=True):
    """One app."""

    name: str
    """Its client id."""
    keys: Mapping[str, Key]
    """By `kid`."""
    thumbprints: frozenset[str]
    scopes: frozenset[str]
    lifetime_ms: int
    audiences: tuple[str, ...]
    """Names of this server in its assertions, without a slash at the end; empty: the server's own."""


class Apps(Struct, frozen=True):
    """All apps of a configuration."""

    by_name: Mapping[str, App] = {}
    public_url: str | None = None

    def audiences(self, app: App, addresses: Iterable[str]) -> tuple[str, ...]:
        """What an assertion of `app` may name as its audience, the one to recommend first.

        `addresses` are where we listen, as URLs.
        """
        if app.audiences:
            return app.audiences
        bases = [self.public_url] if self.public_url else []
        for address in addresses:
            bases += _names(address)
        return tuple(
            base.rstrip("/") + place + end for base in bases for place in _PLACES for end in ("", "/token")
        )


def _names(address: str) -> Iterable[str]:
    """An address, and for one of this machine the other ways to write it."""
    url = urlsplit(address)
    if url.hostname in ("127.0.0.1", "::1", "localhost"):
        others = [f"http://{host}:{url.port}" for host in _HERE]
        return [address, *(other for other in others if other != address)]
    return [address]


def read_apps(config: Config) -> Apps:
    """The apps of a configuration; reads key files. Raises ConfigError with every key that cannot be used."""
    problems: list[Problem] = []
    apps = {name: _app(name, app, problems) for name, app in config.oauth.items()}
    if problems:
        raise ConfigError(problems)
    return Apps(apps, config.http.public_url)


def _app(name: str, config: OAuthAppConfig, problems: list[Problem]) -> App:
    keys: dict[str, Key] = {}
    for i, key in enumerate(config.keys):
        try:
            public = read_public_key(key)
        except ValueError as error:
            problems.append(Problem(str(error), key=key_text(("oauth", name, "keys", i))))
        else:
            keys[key.kid] = Key(public, thumbprint(public))
    return App(
        name=name,
        keys=keys,
        thumbprints=frozenset(key.thumbprint for key in keys.values()),
        scopes=frozenset(config.scopes),
        lifetime_ms=round(parse_duration(config.token_lifetime) * 1000),
        audiences=tuple(text.rstrip("/") for text in config.audience),
    )


def thumbprint(key: RSAPublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo (DER), hex."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
