"""oauth.db: tokens (hashed) and the ids of assertions that were used, in SQLite (WAL).

One thread writes; what arrives while its last commit runs goes out in one transaction (group commit).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.group_commit import GroupCommit, open_database
from cdpd.oauth.token import Token

_PRUNE_MS: Final = 60_000

_SCHEMA: Final = """
create table tokens (
    digest blob primary key,       -- SHA-256 of the token; its first 8 bytes are its id
    app text not null,
    key text not null,             -- thumbprint of the public key that it was asked for with
    scopes text not null,          -- with spaces between them
    issued_ms integer not null,
    expires_ms integer not null,
    revoked_ms integer
) without rowid;
create index tokens_by_expiry on tokens (expires_ms);
create table assertions (
    app text not null,
    jti text not null,
    until_ms integer not null,     -- from then on it is refused as expired
    primary key (app, jti)
) without rowid;
create index assertions_by_end on assertions (until_ms);
"""


class TokenDbError(OSError):
    """oauth.db cannot be used; the text says why and what to do."""


class Used(Struct, frozen=True):
    """An assertion that got a token."""

    app: str
    jti: str
    until_ms: int


class Change(Struct, frozen=True):
    """What is kept whole or not at all."""

    at_ms: int
    issued: Token | None = None
    used: Used | None = None
    revoked: Sequence[Token] = ()
    """These no longer work, and stay listed until they expire."""
    dropped: Sequence[Token] = ()
    """These are forgotten."""


class TokenDb:
    """The one writer of oauth.db. Raises TokenDbError where it cannot be opened or is not ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pruned_ms = 0
        self._db, _ = open_database(path, (_SCHEMA,), TokenDbError, "every app asks for a new token")
        self._writer = GroupCommit(self._db, self._put_all, self._not_written, "cdpd-oauth")

    def read(self, now_ms: int) -> tuple[list[Token], list[Used]]:
        """Tokens that have not expired, oldest first, and assertions that could come again; before any commit."""
        tokens = self._db.execute(
            "select digest, app, key, scopes, issued_ms, expires_ms, revoked_ms from tokens "
            "where expires_ms > ? order by issued_ms",
            (now_ms,),
        )
        used = self._db.execute(
            "select app, jti, until_ms from assertions where until_ms > ? order by until_ms", (now_ms,)
        )
        try:
            return (
                [Token(bytes(row[0]), row[1], row[2], frozenset(row[3].split()), *row[4:]) for row in tokens],
                [Used(*row) for row in used],
            )
        except sqlite3.Error as error:
            raise TokenDbError(f"{self.path} cannot be read: {error}") from error

    async def commit(self, change: Change) -> None:
        """Returns once it is on disk. Raises TokenDbError where that failed: then nothing of it is."""
        await self._writer.commit(change)

    def close(self) -> None:
        """Write what was ordered, and stop."""
        self._writer.close()
        self._db.close()

    def _not_written(self, error: sqlite3.Error) -> TokenDbError:
        return TokenDbError(f"{self.path} cannot be written: {error}")

    def _put_all(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._put(change)
        self._prune(changes[-1].at_ms)

    def _put(self, change: Change) -> None:
        if (token := change.issued) is not None:
            row = (token.digest, token.app, token.key, " ".join(sorted(token.scopes)))
            times = (token.issued_ms, token.expires_ms, token.revoked_ms)
            self._db.execute("insert into tokens values (?, ?, ?, ?, ?, ?, ?)", row + times)
        if (used := change.used) is not None:
            query = "insert or replace into assertions values (?, ?, ?)"
            self._db.execute(query, (used.app, used.jti, used.until_ms))
        for token in change.revoked:
            query = "update tokens set revoked_ms = ? where digest = ?"
            self._db.execute(query, (token.revoked_ms, token.digest))
        for token in change.dropped:
            self._db.execute("delete from tokens where digest = ?", (token.digest,))

    def _prune(self, now_ms: int) -> None:
        if abs(now_ms - self._pruned_ms) < _PRUNE_MS:
            return
        self._pruned_ms = now_ms
        self._db.execute("delete from tokens where expires_ms <= ?", (now_ms,))
        self._db.execute("delete from assertions where until_ms <= ?", (now_ms,))
