"""A SQLite file with one thread that writes: what arrives while its last commit runs goes out in one transaction."""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from msgspec import Struct

_T = TypeVar("_T")
GROUP: Final = 256
"""Most changes of one transaction."""


def open_database(
    path: Path, steps: Sequence[str], failure: Callable[[str], OSError], then: str
) -> tuple[sqlite3.Connection, bool]:
    """The file (0600, WAL), made where missing: (connection, whether it was made).

    `steps`: the SQL that brings the schema from version 0 to 1, from 1 to 2 …; those that a file lacks are taken.

    Raises `failure` with what is wrong and what to do; `then` says what moving the file away would lead to.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        db = connect(path)
        db.execute("pragma journal_mode = wal")
        # FULL: what was answered as committed must not go back on a power loss.
        db.execute("pragma synchronous = full")
        (found,) = db.execute("pragma user_version").fetchone()
        try:
            for step, sql in enumerate(steps[found:], found + 1):
                db.executescript(f"begin; {sql} pragma user_version = {step}; commit;")
        except sqlite3.Error:
            db.close()  # which takes back what the step had done
            raise
    except sqlite3.Error as error:
        way_out = f"Restore it from a backup, or move it away: then {then}"
        raise failure(f"{path} cannot be used: {error}. {way_out}") from error
    except OSError as error:
        raise failure(f"{path} cannot be opened: {error.strerror}") from error
    if found > len(steps):
        raise failure(
            f"{path} was written by a newer cdpd (version {found}, this one knows {len(steps)}): "
            "upgrade, or use another data folder"
        )
    return db, found == 0


def connect(path: Path) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time; transactions are begun and ended by hand."""
    return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)


class _Order(Struct, Generic[_T]):
    change: _T
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class GroupCommit(Generic[_T]):
    """The writing thread of a database.

    `put` writes the changes of a group, in order, inside a transaction. `failure` makes the error for what could not
    be written.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        put: Callable[[Sequence[_T]], None],
        failure: Callable[[sqlite3.Error], OSError],
        name: str,
    ) -> None:
        self._db = db
        self._put = put
        self._failure = failure
        self._orders: queue.SimpleQueue[_Order[_T] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name=name, daemon=True)
        self._thread.start()

    async def commit(self, change: _T) -> None:
        """Returns once it is on disk. Raises what `failure` makes where that failed: then nothing of it is."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._orders.put(_Order(change, loop, done))
        await done

    def close(self) -> None:
        """Write what was ordered, and stop."""
        self._orders.put(None)
        self._thread.join()

    def _write(self) -> None:
        stopping = False
        while not stopping:
            group: list[_Order[_T]] = []
            order = self._orders.get()
            while order is not None:
                group.append(order)
                if len(group) == GROUP:
                    break
                try:
                    order = self._orders.get_nowait()
                except queue.Empty:
                    break
            stopping = order is None
            if group:
                self._write_group(group)

    def _write_group(self, group: list[_Order[_T]]) -> None:
        failure: OSError | None = None
        try:
            self._db.execute("begin immediate")
            self._put([order.change for order in group])
            self._db.execute("commit")
        except sqlite3.Error as error:
            failure = self._failure(error)
            if self._db.in_transaction:
                self._db.execute("rollback")
        for order in group:
            try:
                order.loop.call_soon_threadsafe(_settle, order.done, failure)
            except RuntimeError:
                pass  # its loop is closed: nobody waits any more


def _settle(done: asyncio.Future[None], failure: OSError | None) -> None:
    if done.done():  # whoever waited was cancelled
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
