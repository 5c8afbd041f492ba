"""What `cdpd tokens` asks of the daemon."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.control.contract import Calls, CannotDo
from cdpd.oauth.server import AuthorizationServer
from cdpd.oauth.store import TokenDbError
from cdpd.oauth.token import Token
from cdpd.timestamp import format_time

LIST: Final = "GET /tokens"
REVOKE: Final = "POST /tokens/revoke"


class Revocation(Struct, forbid_unknown_fields=True, frozen=True):
    """The body of `POST /tokens/revoke`."""

    ids: list[str]


def token_calls(server: AuthorizationServer) -> Calls:
    """The calls for a server's tokens."""

    async def tokens(_: bytes) -> dict[str, Any]:
        return {"tokens": [_described(token, state) for token, state in server.tokens()]}

    async def revoke(body: bytes) -> dict[str, Any]:
        ids = msgspec.json.decode(body, type=Revocation).ids
        known = {token.id: token for token, _ in server.tokens()}
        unknown = [one for one in ids if one not in known]
        if unknown:
            listed = ", ".join(unknown)
            raise CannotDo(
                f"there is no token {listed}, or it has expired; nothing was revoked (cdpd tokens ls lists them)"
            )
        chosen = [known[one] for one in dict.fromkeys(ids)]
        try:
            await server.revoke(chosen)
        except TokenDbError as error:
            raise CannotDo(f"revoked until the next start only: {error}") from error
        return {
            "revoked": [token.id for token in chosen if token.revoked_ms is None],
            "already_revoked": [token.id for token in chosen if token.revoked_ms is not None],
        }

    return {LIST: tokens, REVOKE: revoke}


def _described(token: Token, state: str) -> dict[str, Any]:
    return {
        "id": token.id,
        "app": token.app,
        "scopes": sorted(token.scopes),
        "issued": format_time(token.issued_ms),
        "expires": format_time(token.expires_ms),
        "revoked": None if token.revoked_ms is None else format_time(token.revoked_ms),
        "state": state,
    }
