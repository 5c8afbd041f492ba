"""Key pairs and client assertions, made as SDKs make them."""

from __future__ import annotations

import functools
import itertools
from typing import Any
from urllib.parse import quote

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SERVER = "http://127.0.0.1:8080"
NOW = 1_700_000_000
"""Seconds; where FakeClock begins."""
_jti = itertools.count()


@functools.cache
def private_key(name: str, bits: int) -> rsa.RSAPrivateKey:
    """The same one for a name, as long as the tests run."""
    return rsa.generate_private_key(65537, bits)


def private_pem(name: str = "", bits: int = 2048) -> str:
    key = private_key(name, bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(name: str = "", bits: int = 2048) -> str:
    key = private_key(name, bits).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(now: float = NOW, **changed: Any) -> dict[str, Any]:
    """What SDKs claim at `now`; a change to None leaves it out."""
    found = {
        "iss": "billing",
        "sub": "billing",
        "aud": SERVER,
        "iat": now - 5,
        "exp": now + 55,
        "jti": f"jti-{next(_jti)}",
    }
    return {name: value for name, value in (found | changed).items() if value is not None}


def signed(
    payload: dict[str, Any] | None = None,
    key: str = "",
    kid: str | None = "k1",
    algorithm: str = "RS256",
    **header: Any,
) -> str:
    headers = {**({} if kid is None else {"kid": kid}), **header}
    return jwt.encode(payload or claims(), private_key(key, 2048), algorithm=algorithm, headers=headers)


def form(assertion: str | None = None, *, encoded: bool = False, **changed: str | None) -> bytes:
    """A token request's body: raw as SDKs send it, or percent-encoded; a change to None leaves a field out."""
    fields: dict[str, str | None] = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": signed() if assertion is None else assertion,
        "scope": "tracking_api:write",
    }
    pairs = [(name, value) for name, value in (fields | changed).items() if value is not None]
    return "&".join(f"{name}={quote(value, '') if encoded else value}" for name, value in pairs).encode()
