"""What a scenario plays with: a daemon as a process, its clients, vendor and machine; the balance at its end."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Set
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from cdpd.config.data_folder import state_db
from cdpd.control.client import ControlClient, NotRunning
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.event import BEGINNING
from cdpd.log.folder import StreamFolder
from tests.faults.account import Balance, Delivered, Line, Stored, balance
from tests.faults.load import KEY, Load
from tests.faults.machine import Page
from tests.faults.receiver import Receiver, intact, receiver
from tests.running import PATIENCE, RunningDaemon

BATCH: Final = 20
"""Most events in a request to the receiver."""
REQUESTS: Final = 4
"""Most requests to the receiver at once: what a `kill -9` may double."""
COPIED_AT_ONCE: Final = 500
"""Most events that the other destination writes at once."""
OUT: Final = "out"
COPY: Final = "copy"


class World:
    """Made by `world`."""

    def __init__(
        self, folder: Path, seed: int, tasks: TaskGroup, vendor: Receiver, page: Page | None
    ) -> None:
        self.folder = folder
        self.random = Random(seed)
        self.vendor = vendor
        self.daemon = RunningDaemon(folder, "", tasks, "127.0.0.1:0", sys.executable)
        self.load = Load(self.daemon, self.random)
        self.copied = folder / "copy.ndjson"
        """What the destination `copy` writes: it must not notice what happens to `out`."""
        self.gone: set[str] = set()
        """Ids that are lost and were named as such."""
        self.told: list[str] = []
        """What has been done so far, for whoever reads of a promise that was broken."""
        self.scale = 1.0
        """How long slow scenarios take; 1: as short as they can be."""
        self._page = page
        self._in_flight: dict[str, list[str]] = {OUT: [], COPY: []}
        self._killed_at: tuple[int, int] | None = None
        self._at_once = REQUESTS
        self.configure()
        if page is not None:
            self.daemon.environ = page.environ

    @property
    def page(self) -> Page:
        """The machine that fails on demand; for scenarios that say that they need it."""
        assert self._page is not None
        return self._page

    @property
    def times(self) -> int:
        """How often something happens that may happen again and again."""
        return max(round(self.scale), 1)

    def configure(
        self, *, url: str | None = None, out: str = "", log: str = "", more: str = "", mode: str = "batch"
    ) -> None:
        """Write the configuration. `out` and `log`: more keys of the destination and of [log]."""
        self._at_once = REQUESTS if mode == "batch" else REQUESTS * BATCH
        self.daemon.config.write_text(
            f'[log]\nmin_free = "0"\n{log}\n[sources.website]\nwrite_keys = ["{KEY}"]\n'
            f'[destinations.{OUT}]\ntype = "webhook"\nurl = "{url or self.vendor.url}"\nmode = "{mode}"\n'
            f'from = "beginning"\nbatch = {{ max_events = {BATCH} }}\n{out}\n'
            f'[destinations.{COPY}]\ntype = "file"\npath = "{self.copied}"\nfrom = "beginning"\n{more}\n'
        )

    # -- the daemon ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it, again perhaps; what was in flight when it was killed may come twice."""
        self.note_start()
        await self.daemon.start()

    async def start_refused(self) -> str:
        """Start it where it must not start: what it says. Raises AssertionError where it starts."""
        before = len(self.daemon.log())
        try:
            await self.daemon.start()
        except AssertionError:
            said = self.daemon.log()[before:]
            assert said, f"it ended with {self.daemon.ended}, and said nothing"
            assert "Traceback" not in said, said
            return said
        raise AssertionError("the daemon started")

    async def kill(self) -> None:
        """`kill -9`."""
        self.note_end()
        await self.daemon.kill()

    def note_end(self) -> None:
        """The daemon, or the part of it that delivers, is killed in this moment: nothing may come in between."""
        self._killed_at = len(self.vendor.requests), len(self.copies())

    def note_start(self) -> None:
        """What may come twice because of the last end has been taken for the first time."""
        if self._killed_at is not None:
            requests, copies = self._killed_at
            # So many were in flight at most: answered but not committed yet, or not even read by the vendor.
            self._in_flight[OUT] += self.vendor.sent_around(requests, self._at_once)
            self._in_flight[COPY] += self.copies()[max(copies - COPIED_AT_ONCE, 0) : copies + COPIED_AT_ONCE]
            self._killed_at = None

    def may_come_again(self, ids: Set[str] | None = None) -> None:
        """What was delivered so far, all or some of it: the daemon is made to forget it."""
        self._in_flight[OUT] += [one for one in self.vendor.took if ids is None or one in ids]
        self._in_flight[COPY] += [one for one in self.copies() if ids is None or one in ids]

    async def finish(self) -> None:
        """Stop it, and keep its data where the balance is made, though its disk goes away."""
        await self.stop()
        shutil.copytree(self.daemon.data, self.folder / "kept")
        self.daemon.data = self.folder / "kept"

    async def stop(self) -> None:
        """SIGTERM; it has to end well."""
        assert await self.daemon.stop() == 0, self.said()

    async def reload(self) -> None:
        """`cdpd reload`: also how one says “try again now”."""
        await anyio.to_thread.run_sync(self._control().reload)

    async def status(self, destination: str = OUT) -> dict[str, Any]:
        found = await anyio.to_thread.run_sync(self._control().status)
        one: dict[str, Any] = found["destinations"][destination]
        return one

    async def processes(self) -> dict[str, Any]:
        """Those of a daemon in several processes."""
        found: dict[str, Any] = (await anyio.to_thread.run_sync(self._control().status))["processes"]
        return found

    async def until_restarted(self, name: str, starts: int) -> None:
        """Return once a process that was killed runs again."""
        with anyio.fail_after(PATIENCE):
            while True:
                now = (await self.processes())[name]
                if now["state"] == "running" and now["starts"] > starts:
                    return
                await anyio.sleep(0.02)

    async def command(self, *arguments: str) -> str:
        """A command of ours, which has to succeed; what it says."""
        done = await anyio.run_process(self.daemon.command(*arguments), check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        return done.stdout.decode()

    async def log_command(self, *arguments: str) -> str:
        """A command that may find something wrong, and then ends with another code than 0; what it says."""
        done = await anyio.run_process(self.daemon.command(*arguments), check=False)
        said = (done.stdout + done.stderr).decode()
        assert "Traceback" not in said, said
        return said

    def daemon_memory(self) -> int:
        """KiB of its own memory (no files)."""
        text = Path(f"/proc/{self.daemon.pid}/status").read_text()
        return int(text.partition("RssAnon:")[2].split()[0])

    def _control(self) -> ControlClient:
        return ControlClient(self.daemon.data / "control.sock")

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Return once it holds. Raises AssertionError that says what did not happen."""
        with anyio.move_on_after(PATIENCE):
            while not holds():  # noqa: ASYNC110 - no event comes from another process
                await anyio.sleep(0.02)
            return
        raise AssertionError(f"waited {PATIENCE:g} s until {what}; the daemon says:\n{self.said()}")

    async def until_status(self, holds: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """The status of `out` once it is so."""
        found: dict[str, Any] = {}
        with anyio.move_on_after(PATIENCE):
            while True:
                try:
                    found = await self.status()
                except NotRunning:
                    break
                if holds(found):
                    return found
                await anyio.sleep(0.02)
        raise AssertionError(f"waited until {what}, but {found}; the daemon says:\n{self.said()}")

    async def until_failing(self) -> str:
        """What it says once it has failed, at least twice in a row or for good."""

        def fails(status: dict[str, Any]) -> bool:
            return status["state"] in ("retrying", "paused") and bool(status["last_error"])

        return str((await self.until_status(fails, "the destination fails"))["last_error"])

    async def until_delivered(self, but: Callable[[str], bool] = lambda _: False) -> None:
        """Return once everything acknowledged has arrived, at both destinations, and what is bad is discarded.

        but: whether an id is not expected at `out`.
        """
        wanted = self.load.good
        await self.until(lambda: self.all_delivered(but), "everything acknowledged is delivered")
        await self.until(
            lambda: wanted - self.gone <= set(self.copies()), "the other destination has all too"
        )
        bad = self.load.notes.acknowledged - wanted - self.gone
        await self.until(
            lambda: bad <= {line.id for line in self._lines("discarded") if line.code != "duplicate"},
            "what is bad is discarded",
        )

    def all_delivered(self, but: Callable[[str], bool]) -> bool:
        """Whether everything acknowledged that has to come to `out` has come."""
        wanted = self.load.good - self.gone
        return wanted <= set(self.vendor.took) | {one for one in wanted if but(one)}

    def said(self) -> str:
        """The end of the daemon's log."""
        return self.daemon.log()[-4000:]

    # -- the balance -------------------------------------------------------------------------------------------

    def balances(self) -> dict[str, Balance]:
        """Of both destinations; the daemon does not run."""
        stored, sent = self.stored(), self.load.notes
        return {
            OUT: balance(sent, stored, self.delivered(OUT), gone=self.gone),
            COPY: balance(sent, stored, self.delivered(COPY), gone=self.gone),
        }

    def stored(self) -> Stored:
        """What is in the streams."""
        handled = 0
        reader = self._stream("events").reader()
        with closing(reader):
            while (piece := reader.read()) is not None:
                for frame in piece.frames:
                    if frame.cursor is not None:
                        handled = frame.cursor.received.offset
        return Stored(
            received=self._lines("received"),
            events=self._lines("events"),
            discarded=self._lines("discarded"),
            handled=handled,
        )

    def delivered(self, destination: str) -> Delivered:
        """What a destination's receiver and state.db say of it."""
        with self._state() as db:
            (text,) = db.execute(
                "select cursor from cursors where destination = ?", (destination,)
            ).fetchone()
            rows = db.execute("select message_id from parked where destination = ?", (destination,))
            parked = [str(row[0]) for row in rows]
        cursor = DeliveryCursor.parse(text)
        vendor = self.vendor
        ours = destination == OUT
        return Delivered(
            took=vendor.took if ours else self.copies(),
            unheard=vendor.unheard if ours else (),
            in_flight=self._in_flight[destination],
            parked=parked,
            low=cursor.low.offset,
            finished=[(item.first, item.end) for item in cursor.finished],
            foreign=vendor.foreign if ours else [e["messageId"] for e in self._copies() if not intact(e)],
        )

    def cursor_text(self) -> str:
        """The cursor of `out` as it stands in state.db."""
        with self._state() as db:
            (text,) = db.execute("select cursor from cursors where destination = ?", (OUT,)).fetchone()
        return str(text)

    def settle_state(self) -> None:
        """Let state.db be one file, as SQLite itself does when the last process closes it."""
        with self._state() as db:
            db.execute("pragma wal_checkpoint(truncate)")

    @contextmanager
    def _state(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(state_db(self.daemon.data))) as db:
            yield db

    def _stream(self, name: str) -> StreamFolder:
        return StreamFolder(self.daemon.data / "log" / name)

    def _lines(self, name: str) -> list[Line]:
        found = []
        reader = self._stream(name).reader(BEGINNING)
        with closing(reader):
            while (piece := reader.read()) is not None:
                for _, offset, _, text in piece.records():
                    found.append(_line(offset, json.loads(text)))
        return found

    def _copies(self) -> list[dict[str, Any]]:
        lines = self.copied.read_bytes().split(b"\n")[:-1] if self.copied.exists() else []
        return [json.loads(line) for line in lines]

    def copies(self) -> list[str]:
        """Ids that the other destination has, in its order."""
        return [str(event["messageId"]) for event in self._copies()]


def _line(offset: int, line: dict[str, Any]) -> Line:
    if "code" in line:  # of `discarded`
        return Line(offset, line["line"]["messageId"], line["code"])
    return Line(offset, line["messageId"], user=line.get("userId", ""))


@asynccontextmanager
async def world(folder: Path, seed: int, page: Page | None = None) -> AsyncIterator[World]:
    """A world inside the `with`: nothing of it runs yet; all of it is ended."""
    async with receiver() as vendor, anyio.create_task_group() as tasks:
        it = World(folder, seed, tasks, vendor, page)
        try:
            yield it
        finally:
            with anyio.CancelScope(shield=True):
                await it.daemon.close()
