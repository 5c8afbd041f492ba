"""Token requests: the form that an app sends, raw or percent-encoded (wire.md §2)."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from msgspec import Struct

from cdpd.oauth.contract import MAX_BODY
from cdpd.oauth.refusal import Refusal, bad_request

GRANT: Final = "client_credentials"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM: Final = "application/x-www-form-urlencoded"
_FIELDS: Final = 50
_LONGEST: Final = 16 * 1024
"""Characters of an assertion; those of SDKs have some 600."""


class TokenRequest(Struct, frozen=True):
    """What is asked for."""

    assertion: str
    client_id: str | None
    scopes: tuple[str, ...]
    """Empty: whatever the app may have."""


def parse_request(body: bytes, content_type: str) -> TokenRequest:
    """The request in a form. Raises Refusal."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (_FORM, ""):
        raise Refusal(415, "invalid_request", f"send a form ({_FORM}), not {kind[:100]!r}")
    if len(body) > MAX_BODY:
        raise Refusal(413, "invalid_request", f"a token request has {MAX_BODY} bytes at most")
    form = _fields(body)
    grant = _needed(form, "grant_type")
    if grant != GRANT:
        raise Refusal(400, "unsupported_grant_type", f"grant_type is {grant[:100]!r}: only {GRANT} is served")
    if "client_assertion" not in form and "client_secret" in form:
        raise bad_request("apps have no secrets here: sign a client_assertion (JWT, RS256)")
    if _needed(form, "client_assertion_type") != ASSERTION:
        raise bad_request(f"client_assertion_type must be {ASSERTION}")
    assertion = _needed(form, "client_assertion")
    if len(assertion) > _LONGEST:
        raise bad_request(f"client_assertion has {_LONGEST} characters at most")
    scopes = tuple(dict.fromkeys(form.get("scope", "").split()))
    return TokenRequest(assertion, form.get("client_id") or None, scopes)


def _fields(body: bytes) -> dict[str, str]:
    """Names → values. One without a value counts as left out (RFC 6749 §3.2)."""
    try:
        pairs = parse_qsl(body.decode(), errors="strict", max_num_fields=_FIELDS)
    except ValueError:  # UnicodeDecodeError too
        raise bad_request(f"the body is no form in UTF-8 with {_FIELDS} fields at most") from None
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            raise bad_request(f"{name[:100]!r} is given twice")
        form[name] = value
    return form


def _needed(form: dict[str, str], name: str) -> str:
    if name not in form:
        raise bad_request(f"{name} is missing")
    return form[name]
