"""Whose request it is: the write key in all the places where SDKs put it (wire.md §0 rule 7, §2)."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs

import msgspec
from msgspec import Raw

from cdpd.ingest.refusal import Refused
from cdpd.ingest.settings import IngestSettings, KnownSource
from cdpd.oauth.contract import WRITE, OAuth

_decode_string = msgspec.json.Decoder(str).decode


def header_key(authorization: str) -> str | None:
    """The user name of a Basic header, or None where it has none.

    Keys encoded without the colon are taken as well. A Bearer token is no key: those clients send the key
    in the body or query.
    """
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    value = value.strip()
    try:
        text = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return text.partition(":")[0] or None


def raw_key(raw: Raw | None) -> str | None:
    """A write key out of a body: None where it is absent, empty or no string."""
    if raw is None:
        return None
    try:
        return _decode_string(raw) or None
    except msgspec.DecodeError:
        return None


def query_key(query: str) -> str | None:
    """`writeKey` (or `write_key`) of a query string."""
    if not query:
        return None
    try:
        fields = parse_qs(query, max_num_fields=100)
    except ValueError:
        return None
    for name in ("writeKey", "write_key"):
        if fields.get(name):
            return fields[name][0]
    return None


def by_header(settings: IngestSettings, authorization: str | None) -> KnownSource | None:
    """The source that the Authorization header names, or None where it names none.

    Raises Refused for a key that nobody has: the header wins over the body.
    """
    if authorization is None:
        return None
    known = settings.basic.get(authorization)
    if known is not None:
        return known
    key = header_key(authorization)
    return None if key is None else by_key(settings, key)


def by_key(settings: IngestSettings, key: str | None) -> KnownSource:
    """The source of a write key. Raises Refused."""
    if key is None:
        raise Refused(
            401,
            "missing_write_key",
            "there is no write key: send it as the user name of Basic authentication, as writeKey in the "
            "body, or as ?writeKey= in the query",
        )
    known = settings.sources.get(key)
    if known is None:
        raise Refused(401, "unknown_source", "no source has this write key")
    return known


def check_token(source: KnownSource, authorization: str, oauth: OAuth | None) -> None:
    """Raises Refused unless the request brings a good token of one of the source's apps.

    A token that is not good any more is answered 511: at that, and at nothing else, OAuth clients get a new one
    and send the same events again (wire.md §8); at 401 they would drop them.
    """
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(
            401,
            "missing_token",
            f"the source {source.name} takes events with an access token only: get one at /token and send it as "
            "Authorization: Bearer",
            challenge="Bearer",
        )
    grant = None if oauth is None else oauth.grant(token.strip())
    if grant is None:
        raise Refused(
            511,
            "invalid_token",
            "the access token is unknown, expired or revoked: get a new one at /token",
            challenge='Bearer error="invalid_token"',
        )
    if grant.app not in source.oauth or WRITE not in grant.scopes:
        raise Refused(
            403,
            "wrong_app",
            f"this token is not for the source {source.name}: it is of the app {grant.app}, with the scopes "
            f"{' '.join(sorted(grant.scopes)) or '(none)'}",
            challenge='Bearer error="insufficient_scope"',
        )
