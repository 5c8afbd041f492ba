"""OAuth 2 for destinations: client credentials or a refresh token become access tokens, kept and renewed.

    class Config(ActionsConfig, …):
        oauth: OAuth2Config

    def __init__(self, config, env):
        super().__init__(config, env)
        self.client.authorization = OAuth2(config.oauth, env)

Source: RFC 6749 §4.4 and §6; spec/connections.md §7 (a 401 refreshes once and is tried again at once; a refresh that is
refused: bad credentials).
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct

from cdpd.destinations.actions.encode import to_form
from cdpd.destinations.actions.trouble import InvalidAuthenticationError, RetryableError
from cdpd.destinations.answers import Answer, rule_of
from cdpd.destinations.contract import DestinationEnv
from cdpd.destinations.exchange import send
from cdpd.secret import Secret

_EARLY: Final = 60.0
"""Seconds before its end from which on a token is not used any more."""
_UNSAID: Final = 3600.0
"""Lifetime of a token that does not tell its own."""
REFRESH_FAILED: Final = "OAUTH_REFRESH_FAILED"


class OAuth2Config(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How to get access tokens: with `refresh_token` by that, else by client credentials."""

    token_url: str
    """Where tokens are given out."""
    client_id: str
    """Who asks."""
    client_secret: Secret
    """And the proof of it."""
    scope: str = ""
    """What the token is to be good for; several are separated by spaces."""
    refresh_token: Secret | None = None
    """The refresh token that a person's consent gave. Where the vendor hands out another, that is kept."""
    credentials: Literal["basic", "form"] = "basic"
    """How client_id and client_secret are sent: as Basic authorization, or in the form."""
    prefix: str = "Bearer"
    """What stands before the token in `Authorization`."""


class _Token(Struct):
    access_token: str
    expires_in: float | None = None
    refresh_token: str | None = None


class _Kept(Struct):
    """In the destination's own folder: a vendor that changes refresh tokens takes the old one only once."""

    refresh_token: str
    given: str
    """The configured one that it came from: another one in the configuration is newer."""


class OAuth2:
    """The `Authorization` of a client. One request for a token at a time, however many wait for it."""

    def __init__(self, config: OAuth2Config, env: DestinationEnv) -> None:
        self._config = config
        self._env = env
        self._path: Path = env.state_dir / "oauth.json"
        self._token = ""
        self._good_until = 0.0
        self._asking = anyio.Lock()

    async def header(self, *, anew: bool) -> str:
        """`Bearer TOKEN`. Raises InvalidAuthenticationError, RetryableError, and what aiohttp raises."""
        before = self._token
        async with self._asking:
            now = self._env.clock.monotonic()
            if not self._token or now >= self._good_until or (anew and self._token == before):
                await self._ask(now)
        return f"{self._config.prefix} {self._token}"

    async def _ask(self, now: float) -> None:
        config = self._config
        form = {"grant_type": "client_credentials"}
        if config.refresh_token is not None:
            refresh = await anyio.to_thread.run_sync(self._refresh_token)
            form = {"grant_type": "refresh_token", "refresh_token": refresh}
        if config.scope:
            form["scope"] = config.scope
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        secret = config.client_secret.reveal()
        if config.credentials == "basic":
            # RFC 6749 §2.3.1: both are form-encoded first.
            pair = f"{quote(config.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": config.client_id, "client_secret": secret}
        answer = await send(self._env.http, "POST", config.token_url, data=to_form(form), headers=headers)
        token = self._read(answer)
        self._token = token.access_token
        self._good_until = now + max((token.expires_in or _UNSAID) - _EARLY, 1.0)
        if token.refresh_token and config.refresh_token is not None:
            kept = _Kept(token.refresh_token, config.refresh_token.reveal())
            await anyio.to_thread.run_sync(self._keep, kept)

    def _read(self, answer: Answer) -> _Token:
        if answer.status == 200:
            try:
                return msgspec.json.decode(answer.body, type=_Token)
            except msgspec.DecodeError as error:
                raise RetryableError(f"the token's answer cannot be read: {error}") from error
        kind = rule_of(answer, self._env.clock.now_ms()).kind
        if kind in ("retry", "rate_limited"):
            raise RetryableError(f"no token now: it answered {answer.status}", answer.status)
        said = _error(answer.body)
        raise InvalidAuthenticationError(f"{REFRESH_FAILED}: no token: {answer.status} {said}".rstrip())

    def _refresh_token(self) -> str:
        assert self._config.refresh_token is not None
        given = self._config.refresh_token.reveal()
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except (OSError, ValueError, msgspec.DecodeError):  # whatever a disk has made of it
            return given
        return kept.refresh_token if kept.given == given else given

    def _keep(self, kept: _Kept) -> None:
        """Durably, before the token is used: the old one may be worth nothing any more."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, msgspec.json.encode(kept))
            os.fsync(fd)
        finally:
            os.close(fd)
        new.replace(self._path)


def _error(body: str) -> str:
    """The `error` of RFC 6749 §5.2; its description may quote what was sent."""
    try:
        decoded: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return ""
    error = decoded.get("error") if isinstance(decoded, dict) else None
    return error if isinstance(error, str) else ""
