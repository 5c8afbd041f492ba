"""What ingest needs of OAuth: an answer to token requests, and what a bearer token is good for."""

from __future__ import annotations

from typing import Any, Final, Protocol

from msgspec import Struct

WRITE: Final = "tracking_api:write"
"""The scope that sending events takes."""
MAX_BODY: Final = 64 * 1024
"""Bytes of a token request."""


class Grant(Struct, frozen=True):
    """What a token allows."""

    app: str
    """The client id."""
    scopes: frozenset[str]


class TokenAnswer(Struct, frozen=True):
    """The answer to a token request (RFC 6749 §5)."""

    status: int
    document: dict[str, Any]
    retry_after: int | None = None
    """Seconds, of a 429."""


class OAuth(Protocol):
    """The authorization server."""

    async def token(self, body: bytes, content_type: str) -> TokenAnswer:
        """Answer a token request; of bad ones too. Tokens are durable when this returns."""
        ...

    def grant(self, token: str) -> Grant | None:
        """What a token is good for now; None for one that is unknown, expired or revoked. Costs a look-up."""
        ...
