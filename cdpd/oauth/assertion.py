"""Client assertions: JWTs by which an app proves that it asks (RFC 7523 §3, connections.md §12).

Replay is not looked at here: that takes a memory (cdpd/oauth/server.py).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from cdpd.oauth.apps import App, Apps, Key
from cdpd.oauth.refusal import EXPIRED, TOO_EARLY, bad_client, bad_request

ALGORITHM: Final = "RS256"
LONGEST: Final = 60.0
"""Seconds from `iat` to `exp` …"""
LEEWAY: Final = 60.0
"""… and how far an app's clock may be off, in seconds. SDKs that are further off learn it from our `Date`."""
_ROUNDING: Final = 1.0
_JTI: Final = 255
"""Characters of an assertion's id."""
_T = TypeVar("_T")


class _Header(Struct):
    alg: str
    kid: str | None = None
    crit: msgspec.Raw | None = None


class _Subject(Struct):
    sub: str


class Claims(Struct):
    """What an assertion says. Times are seconds since the epoch; analytics-node sends fractions of them."""

    sub: str
    aud: str | list[str]
    iat: float
    exp: float
    jti: str
    nbf: float | None = None


class Signed(Struct, frozen=True):
    """An assertion that one of an app's keys has signed; whether its claims hold is another matter."""

    app: App
    key: Key
    payload: bytes


def read_signed(assertion: str, apps: Apps) -> Signed:
    """Whose it is, its signature verified. Raises Refusal."""
    import jwt  # takes long to import: only where an app asks

    parts = assertion.split(".")
    if len(parts) != 3:
        raise bad_client("client_assertion is no signed JWT: it has three parts with dots between them")
    header = _decode(parts[0], _Header, "header")
    if header.alg != ALGORITHM:
        raise bad_client(f"client_assertion is signed with {header.alg[:20]!r}: only {ALGORITHM} is taken")
    if header.crit is not None:
        raise bad_client("client_assertion has a critical header (crit), and none is understood")
    if header.kid is None:
        raise bad_client("client_assertion does not name its key: there is no kid in its header")
    name = _decode(parts[1], _Subject, "payload").sub
    app = apps.by_name.get(name)
    key = app.keys.get(header.kid) if app is not None else None
    if app is None or key is None:
        # One text for both: who cannot sign learns nothing of which apps there are.
        raise bad_client(f"no app {name[:100]!r} has a key with the id {header.kid[:100]!r} here")
    try:
        decoded = jwt.PyJWS().decode_complete(assertion, key.public, algorithms=[ALGORITHM])
    except (jwt.PyJWTError, ValueError):
        raise bad_client(f"the signature is not that of the key {header.kid[:100]!r}") from None
    return Signed(app, key, decoded["payload"])


def check_claims(signed: Signed, audiences: Callable[[], Sequence[str]], now: float) -> Claims:
    """The claims, where they hold at `now` (seconds since the epoch). Raises Refusal.

    `audiences` are our names, the one to recommend first.
    """
    try:
        claims = msgspec.json.decode(signed.payload, type=Claims)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_client(f"the claims of client_assertion are wrong: {error}") from None
    if claims.sub != signed.app.name:
        raise bad_client("the claims of client_assertion are not those that were signed")
    if not 0 < len(claims.jti) <= _JTI:
        raise bad_client(f"the jti of client_assertion has 1 to {_JTI} characters")
    named = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    allowed = audiences()
    if not any(name.rstrip("/") in allowed for name in named):
        said = ", ".join(named)[:200]
        raise bad_client(f"client_assertion is meant for {said!r} (aud); this server is {allowed[0]}")
    if claims.exp <= now - LEEWAY:
        raise bad_request(EXPIRED)
    if claims.iat > now + LEEWAY:
        raise bad_request(TOO_EARLY)
    if claims.nbf is not None and claims.nbf > now + LEEWAY:
        raise bad_client("client_assertion is not valid yet (nbf)")
    if claims.exp <= claims.iat:
        raise bad_client("client_assertion expires before it was issued (exp, iat)")
    if claims.exp > claims.iat + LONGEST + _ROUNDING:
        raise bad_client(f"client_assertion is good for too long: exp is at most iat + {LONGEST:g} seconds")
    return claims


def _decode(part: str, wanted: type[_T], name: str) -> _T:
    """A part of a JWT as what it should hold."""
    try:
        text = b64decode(part + "=" * (-len(part) % 4), altchars="-_", validate=True)
        return msgspec.json.decode(text, type=wanted)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise bad_client(f"the {name} of client_assertion cannot be read: {error}") from None
