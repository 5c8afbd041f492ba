"""The authorization server: apps get tokens for signed assertions, and ingest asks what a token is good for.

A token is good while it has not expired, nobody revoked it, and both its app and the public key that it was asked for
with are configured. So taking a key out of the configuration ends what a thief of its private half has got with it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final

import anyio.to_thread
import msgspec
import structlog
from msgspec import Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.config.model import Config
from cdpd.config.problem import ConfigError, Problem
from cdpd.config.rate import Rate
from cdpd.limit import Limit
from cdpd.metrics import Metrics
from cdpd.oauth.apps import App, Apps, read_apps
from cdpd.oauth.assertion import LEEWAY, Claims, Signed, check_claims, read_signed
from cdpd.oauth.contract import Grant, TokenAnswer
from cdpd.oauth.refusal import Refusal, bad_client, later
from cdpd.oauth.request import parse_request
from cdpd.oauth.store import Change, TokenDb, TokenDbError, Used
from cdpd.oauth.token import Token, digest, new_token

MOST_TOKENS: Final = 10_000
"""Tokens of one app that are kept until they expire; a new one takes the place of the oldest."""
APP_RATE: Final = Rate(600, 60.0)
"""Token requests of one app, good and bad: of those that it has signed, lest a stranger can shut it out …"""
WHOLE_RATE: Final = Rate(6000, 60.0)
"""… and of everybody together, whatever they hold."""
_STORE_RETRY: Final = 10


class _Live(Struct, frozen=True):
    """What the look-up on each request needs of a token."""

    expires_ms: int
    grant: Grant


class AuthorizationServer:
    """One a daemon. Without apps it keeps no file and knows no token.

    `addresses` are where the daemon listens, as URLs: names by which assertions may call it.
    """

    def __init__(
        self,
        *,
        path: Path,
        addresses: Callable[[], Iterable[str]],
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._path = path
        self._addresses = addresses
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._apps = Apps()
        self._db: TokenDb | None = None
        self._tokens: dict[str, dict[bytes, Token]] = {}
        """App → its tokens, oldest first; revoked ones too, until they expire."""
        self._live: dict[bytes, _Live] = {}
        self._used: dict[tuple[str, str], int] = {}
        """(app, jti) of assertions that got a token → when they are refused as expired, in ms; oldest first."""
        self._app_limit = Limit(clock.monotonic)
        self._whole_limit = Limit(clock.monotonic)

    # -- configuration -----------------------------------------------------------------------------------

    async def read(self, config: Config) -> Apps:
        """The apps of `config`, for `apply`; opens oauth.db where there are the first ones.

        Raises ConfigError, with nothing changed, where a key or oauth.db cannot be used.
        """
        apps = await anyio.to_thread.run_sync(read_apps, config)
        if apps.by_name and self._db is None:
            try:
                db, tokens, used = await anyio.to_thread.run_sync(self._open)
            except TokenDbError as error:
                raise ConfigError([Problem(str(error))]) from error
            self._db = db
            for token in tokens:
                self._tokens.setdefault(token.app, {})[token.digest] = token
            self._used = {(item.app, item.jti): item.until_ms for item in used}
        return apps

    def _open(self) -> tuple[TokenDb, list[Token], list[Used]]:
        importlib.import_module("jwt")  # takes long: not in the loop, at the first request
        db = TokenDb(self._path)
        try:
            return db, *db.read(self._clock.now_ms())
        except TokenDbError:
            db.close()
            raise

    def apply(self, apps: Apps) -> None:
        """Take new apps: what they do not allow stops working at once."""
        self._apps = apps
        self._app_limit.keep(frozenset(apps.by_name))
        every = (token for tokens in self._tokens.values() for token in tokens.values())
        self._live = {token.digest: live for token in every if (live := self._live_of(token)) is not None}

    def close(self) -> None:
        """Close oauth.db."""
        if self._db is not None:
            self._db.close()

    # -- the contract (cdpd/oauth/contract.py) -----------------------------------------------------------

    def grant(self, token: str) -> Grant | None:
        """What a token is good for now; None for one that is unknown, expired or revoked. Costs a look-up."""
        found = digest(token)
        live = self._live.get(found) if found is not None else None
        if live is None or live.expires_ms <= self._clock.now_ms():
            return None
        return live.grant

    async def token(self, body: bytes, content_type: str) -> TokenAnswer:
        """Answer a token request. Tokens are durable when this returns."""
        try:
            answer = await self._token(body, content_type)
        except Refusal as refusal:
            self._metrics.add(names.TOKENS, refusal.error)
            self._log.debug("a token was refused", error=refusal.error, reason=refusal.for_log)
            document = {"error": refusal.error, "error_description": refusal.description}
            return TokenAnswer(refusal.status, document, refusal.retry_after)
        self._metrics.add(names.TOKENS, "issued")
        return answer

    async def _token(self, body: bytes, content_type: str) -> TokenAnswer:
        wait = self._whole_limit.take("", WHOLE_RATE)
        if wait is not None:
            raise later(wait, "too many token requests")
        asked = parse_request(body, content_type)
        signed = read_signed(asked.assertion, self._apps)
        app = signed.app
        wait = self._app_limit.take(app.name, APP_RATE)
        if wait is not None:
            raise later(wait, f"too many token requests of the app {app.name}")
        now_ms = self._clock.now_ms()
        claims = check_claims(signed, lambda: self._apps.audiences(app, self._addresses()), now_ms / 1000)
        if asked.client_id not in (None, app.name):
            raise bad_client(f"client_id is not {app.name!r}, whose assertion this is")
        scopes = _scopes(asked.scopes, app)
        text = new_token()
        await self._issue(text, signed, claims, scopes, now_ms)
        return TokenAnswer(
            200,
            {
                "access_token": text,
                "token_type": "Bearer",
                "expires_in": app.lifetime_ms // 1000,
                "scope": " ".join(sorted(scopes)),
            },
        )

    async def _issue(
        self, text: str, signed: Signed, claims: Claims, scopes: frozenset[str], now_ms: int
    ) -> None:
        """Make a token durable, and then good. Raises Refusal."""
        app, found = signed.app, digest(text)
        assert self._db is not None, "there are apps"
        assert found is not None
        used = Used(app.name, claims.jti, math.ceil((claims.exp + LEEWAY) * 1000))
        self._remember(used, now_ms)
        token = Token(found, app.name, signed.key.thumbprint, scopes, now_ms, now_ms + app.lifetime_ms)
        dropped = self._too_many(app.name, now_ms)
        try:
            await self._db.commit(Change(now_ms, issued=token, used=used, dropped=dropped))
        except TokenDbError as error:
            self._used.pop((used.app, used.jti), None)
            self._log.error("no token can be issued", problem=str(error))
            raise later(_STORE_RETRY, "tokens cannot be stored at the moment", status=503) from error
        self._forget(dropped)
        self._tokens.setdefault(app.name, {})[token.digest] = token
        # The apps may be others by now.
        if (live := self._live_of(token)) is not None:
            self._live[token.digest] = live
        self._log.info("token issued", app=app.name, id=token.id)

    def _remember(self, used: Used, now_ms: int) -> None:
        """Raises Refusal for an assertion that came before."""
        while self._used and next(iter(self._used.values())) <= now_ms:
            del self._used[next(iter(self._used))]
        key = (used.app, used.jti)
        if self._used.get(key, 0) > now_ms:
            raise bad_client("client_assertion was used before (jti): sign a new one for each request")
        self._used.pop(key, None)
        self._used[key] = used.until_ms

    def _too_many(self, app: str, now_ms: int) -> list[Token]:
        """The tokens of an app that make room for one more: expired ones, and the oldest beyond MOST_TOKENS."""
        tokens = self._tokens.get(app, {})
        while tokens and (oldest := next(iter(tokens.values()))).expires_ms <= now_ms:
            self._forget([oldest])  # in oauth.db they are pruned by time
        dropped = list(islice(tokens.values(), max(len(tokens) - MOST_TOKENS + 1, 0)))
        if dropped:
            self._log.warning(
                "an app has more tokens than are kept; its oldest ones no longer work",
                app=app,
                kept=MOST_TOKENS,
                ids=[token.id for token in dropped],
            )
        return dropped

    def _forget(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            self._tokens.get(token.app, {}).pop(token.digest, None)
            self._live.pop(token.digest, None)

    def _live_of(self, token: Token) -> _Live | None:
        app = self._apps.by_name.get(token.app)
        if app is None or token.revoked_ms is not None or token.key not in app.thumbprints:
            return None
        return _Live(token.expires_ms, Grant(app.name, token.scopes & app.scopes))

    # -- for people (cdpd/oauth/calls.py) ------------------------------------------------------------------

    def tokens(self) -> list[tuple[Token, str]]:
        """Every token that has not expired, oldest first, each with its state: `good`, or why it is not."""
        now_ms = self._clock.now_ms()
        found = [token for tokens in self._tokens.values() for token in tokens.values()]
        return [
            (token, self._state(token))
            for token in sorted(found, key=lambda token: token.issued_ms)
            if token.expires_ms > now_ms
        ]

    def _state(self, token: Token) -> str:
        if token.revoked_ms is not None:
            return "revoked"
        app = self._apps.by_name.get(token.app)
        if app is None:
            return "app not configured"
        return "good" if token.key in app.thumbprints else "key not configured"

    async def revoke(self, tokens: Iterable[Token]) -> None:
        """End these at once. Raises TokenDbError where that cannot be stored: they do not work all the same,
        until the next start."""
        if self._db is None:
            return
        now_ms = self._clock.now_ms()
        ended = [
            token if token.revoked_ms is not None else msgspec.structs.replace(token, revoked_ms=now_ms)
            for token in tokens
        ]
        for token in ended:
            self._live.pop(token.digest, None)
            self._tokens[token.app][token.digest] = token
        # Those that were revoked before are stored again: that may have failed then.
        await self._db.commit(Change(now_ms, revoked=ended))
        for token in ended:
            self._log.info("token revoked", app=token.app, id=token.id)


def _scopes(asked: tuple[str, ...], app: App) -> frozenset[str]:
    """What a token gets: what was asked for, else all that the app may have. Raises Refusal."""
    for scope in asked:
        if scope not in app.scopes:
            may = " ".join(sorted(app.scopes))
            raise Refusal(400, "invalid_scope", f"the app {app.name} may have {may}, not {scope[:100]!r}")
    return frozenset(asked) or app.scopes
