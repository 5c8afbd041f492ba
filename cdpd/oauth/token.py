"""Access tokens: random, opaque, and kept only as their hash."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from msgspec import Struct

PREFIX: Final = "cdp_at_"
"""So that scanners for leaked secrets can find them."""
_LENGTH: Final = len(PREFIX) + 43
_ID: Final = 16


class Token(Struct, frozen=True):
    """One that was issued. Times are milliseconds since the epoch."""

    digest: bytes
    """SHA-256 of the token itself."""
    app: str
    key: str
    """Thumbprint of the public key that its assertion was signed for."""
    scopes: frozenset[str]
    issued_ms: int
    expires_ms: int
    revoked_ms: int | None = None

    @property
    def id(self) -> str:
        """Its public name: who has the token can find its id, not the other way round."""
        return self.digest.hex()[:_ID]


def new_token() -> str:
    """A fresh token: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> bytes | None:
    """What a token is kept as; None for what is no token of ours."""
    if len(token) != _LENGTH or not token.startswith(PREFIX) or not token.isascii():
        return None
    return hashlib.sha256(token.encode()).digest()


def token_id(text: str) -> str:
    """The id that `text` is, or that of the token that it is."""
    found = digest(text.strip())
    return text.strip().lower() if found is None else found.hex()[:_ID]
