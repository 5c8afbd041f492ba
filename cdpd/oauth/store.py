"""oauth.db: tokens (hashed) and the ids of assertions that were used, in SQLite (WAL).

One thread writes; what arrives while its last commit runs goes out in one transaction (group commit).
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.oauth.token import Token

VERSION: Final = 1
_GROUP: Final = 256
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


class _Order(Struct):
    change: Change
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class TokenDb:
    """The one writer of oauth.db. Raises TokenDbError where it cannot be opened or is not ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._pruned_ms = 0
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._prepare()
        except sqlite3.Error as error:
            raise TokenDbError(
                f"{path} cannot be used: {error}. Restore it from a backup, or move it away: then every app "
                "asks for a new token"
            ) from error
        except TokenDbError:
            raise
        except OSError as error:
            raise TokenDbError(f"{path} cannot be opened: {error.strerror}") from error
        self._thread = threading.Thread(target=self._write, name="cdpd-oauth", daemon=True)
        self._thread.start()

    def _prepare(self) -> None:
        self._db.execute("pragma journal_mode = wal")
        # FULL: a token that was answered, and an assertion that was used, outlive a power loss.
        self._db.execute("pragma synchronous = full")
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version > VERSION:
            raise TokenDbError(
                f"{self.path} was written by a newer cdpd (version {version}, this one knows {VERSION}): "
                "upgrade, or use another data folder"
            )
        if version == 0:
            self._db.executescript(f"begin; {_SCHEMA} pragma user_version = {VERSION}; commit;")

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
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._orders.put(_Order(change, loop, done))
        await done

    def close(self) -> None:
        """Write what was ordered, and stop."""
        self._orders.put(None)
        self._thread.join()
        self._db.close()

    def _write(self) -> None:
        stopping = False
        while not stopping:
            group: list[_Order] = []
            order = self._orders.get()
            while order is not None:
                group.append(order)
                if len(group) == _GROUP:
                    break
                try:
                    order = self._orders.get_nowait()
                except queue.Empty:
                    break
            stopping = order is None
            if group:
                self._write_group(group)

    def _write_group(self, group: list[_Order]) -> None:
        failure: TokenDbError | None = None
        try:
            self._db.execute("begin immediate")
            for order in group:
                self._put(order.change)
            self._prune(group[-1].change.at_ms)
            self._db.execute("commit")
        except sqlite3.Error as error:
            failure = TokenDbError(f"{self.path} cannot be written: {error}")
            if self._db.in_transaction:
                self._db.execute("rollback")
        for order in group:
            try:
                order.loop.call_soon_threadsafe(_settle, order.done, failure)
            except RuntimeError:
                pass  # its loop is closed: nobody waits any more

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


def _settle(done: asyncio.Future[None], failure: TokenDbError | None) -> None:
    if done.done():  # whoever waited was cancelled
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
