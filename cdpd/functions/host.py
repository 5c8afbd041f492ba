"""One function of the configuration: its process, another one when its file changes, its time limit, its errors.

The file is looked at while calls come, once a second at most: a changed one is run in a new process, which takes the
calls from then on. One that does not load changes nothing but the log, which says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from msgspec import Raw, Struct

from cdpd.clock import Clock
from cdpd.config.functions import FunctionSetup, Kind, revealed
from cdpd.functions.frames import Result
from cdpd.functions.kept import FunctionsDb, KeptError
from cdpd.functions.process import CannotLoad, FunctionProcess, Gone
from cdpd.secret import HIDDEN, secrets_in

if TYPE_CHECKING:
    import structlog

LOOK: Final = 1.0
"""Seconds between two looks at the file …"""
LOAD_AGAIN: Final = 5.0
"""… and between two tries of one that did not load, where no older one runs."""
_QUIET: Final = 60.0
"""Seconds during which errors of a function are kept, but not told in the log again."""
_SHORTEST: Final = 4
"""Shorter secrets are left alone: hiding every `a` would hide the message and tell the secret."""
_STUCK: Final = "a call in it was over its time and cannot be stopped"
KEPT: Final = frozenset(("failed", "rejected", "invalid_settings", "timeout", "retry"))
"""Ends that are errors; and a status from 400 on."""

Stamp = tuple[int, int, int]


class Surroundings(Struct, frozen=True):
    """What every function of a daemon is given."""

    data_db: FunctionsDb
    clock: Clock
    log: structlog.typing.FilteringBoundLogger


class Host:
    """`call` starts what has to be started; `close` ends it."""

    def __init__(self, name: str, kind: Kind, setup: FunctionSetup, around: Surroundings) -> None:
        """`name`: as errors are kept under, like `destination mine`."""
        self.name = name
        self.setup = setup
        self._kind = kind
        self._db = around.data_db
        self._clock = around.clock
        self._log = around.log.bind(function=name)
        self._secrets = sorted(
            (s.reveal() for s in secrets_in(setup) if len(s.reveal()) >= _SHORTEST), key=len, reverse=True
        )
        self._process: FunctionProcess | None = None
        self._old: list[FunctionProcess] = []
        """Those that still have calls, or hang."""
        self._stamp: Stamp | None = None
        """Of the file that runs, or did not load."""
        self._looked = float("-inf")
        self._problem: CannotLoad | None = None
        self._failed_at = self._told = float("-inf")
        self._starting = anyio.Lock()

    async def handlers(self) -> frozenset[str]:
        """Names of the handlers that the file has. Raises CannotLoad."""
        return (await self._ready()).handlers

    async def call(self, items: Sequence[Raw], shown: Callable[[int], str]) -> list[Result]:
        """One result an item: all in one call of `on_batch` where the function has it, else side by side.

        `shown`: what is kept of the item with that number beside an error. A call that is over its time is a `timeout`.
        Raises CannotLoad where the file cannot be run, and never could.
        """
        process = await self._ready()
        try:
            ran = await process.run(items, self.setup.timeout)
        except Gone as error:
            results, output = [Result("timeout", str(error)) for _ in items], ""
        else:
            results, output = ran.results, ran.output
            if len(results) != len(items):
                problem = f"it answered {len(results)} results for {len(items)} items"
                results = [Result("failed", problem) for _ in items]
        if process.stuck and not process.calls:
            process.kill(_STUCK)
        await self._keep(results, output, shown)
        return results

    async def close(self) -> None:
        """End every process, after the calls that run."""
        async with anyio.create_task_group() as tasks:
            for process in (*self._old, self._process):
                if process is not None:
                    tasks.start_soon(process.end)
        self._process, self._old = None, []

    # -- the process -----------------------------------------------------------------------------------------

    async def _ready(self) -> FunctionProcess:
        """The process that takes the next call. Raises CannotLoad."""
        process = self._process
        if process is not None and not process.gone and not process.stuck and not self._time_to_look():
            return process
        async with self._starting:
            await self._clear()
            process = self._process
            usable = process is not None and not process.gone and not process.stuck
            if usable and not self._time_to_look():
                assert process is not None
                return process
            now, self._looked = self._clock.monotonic(), self._clock.monotonic()
            stamp = _stamp(self.setup.file)
            if stamp == self._stamp:
                if usable:
                    assert process is not None
                    return process
                if self._problem is not None and now < self._failed_at + LOAD_AGAIN:
                    raise self._problem
            return await self._replace(process if usable else None, stamp)

    def _time_to_look(self) -> bool:
        return self._clock.monotonic() >= self._looked + LOOK

    async def _replace(self, usable: FunctionProcess | None, stamp: Stamp | None) -> FunctionProcess:
        """A new process of the file as it is now; the one that runs where it does not load."""
        again = self._process is not None and stamp == self._stamp
        self._stamp = stamp
        try:
            started = await FunctionProcess.start(
                self.setup.file, self._kind, revealed(self.setup.settings), self._clock
            )
        except CannotLoad as error:
            self._failed_at = self._clock.monotonic()
            self._problem = error
            await self._store([self._error("cannot_load", str(error), error.trace)])
            if usable is None:
                raise
            text = "the function's file has changed and cannot be run; the one before goes on"
            self._log.error(text, file=self.setup.file, problem=str(error))
            return usable
        if self._process is not None:
            self._old.append(self._process)
            if again:
                self._log.warning("the function's process is started again", why=self._process.gone or _STUCK)
            else:
                self._log.info("the function's file has changed; it runs", file=self.setup.file)
        self._process, self._problem = started, None
        return started

    async def _clear(self) -> None:
        """End old processes that nobody waits for."""
        left = []
        for process in self._old:
            if process.calls:
                left.append(process)
            else:
                await process.end()
        self._old = left

    # -- errors ----------------------------------------------------------------------------------------------

    async def _keep(self, results: Sequence[Result], output: str, shown: Callable[[int], str]) -> None:
        errors = [
            self._error(result.ended, _message(result), result.trace, output, shown(i))
            for i, result in enumerate(results)
            if result.ended in KEPT or (result.ended == "status" and (result.status or 0) >= 400)
        ]
        if not errors:
            return
        now = self._clock.monotonic()
        if now >= self._told + _QUIET:
            # Not its text, which may quote an event.
            self._told = now
            command = f"cdpd function logs {self.name.rpartition(' ')[2]}"
            self._log.warning("a function fails", ended=errors[-1].ended, calls=len(errors), see=command)
        await self._store(errors)

    def _error(
        self, ended: str, message: str, trace: str = "", output: str = "", item: str = ""
    ) -> KeptError:
        message, trace, output = map(self._masked, (message, trace, output))
        return KeptError(self.name, self._clock.now_ms(), ended, message, trace, output, item)

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    async def _store(self, errors: Sequence[KeptError]) -> None:
        try:
            await anyio.to_thread.run_sync(partial(self._db.keep_errors, errors))
        except OSError as error:
            self._log.warning("a function's errors cannot be kept", problem=str(error))


def _message(result: Result) -> str:
    return f"{result.status}: {result.message}" if result.ended == "status" else result.message


def _stamp(file: str) -> Stamp | None:
    """What changes when the file does; None where it is not there."""
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
