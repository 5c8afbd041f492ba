"""A function's process as the daemon holds it: started with a file, called, ended.

Only so can any handler be bounded: what hangs in a loop, in C code or in a thread is killed with its process, and
nothing that a function does to its own interpreter reaches the daemon.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import anyio
import msgspec
from msgspec import Raw, Struct

from cdpd.clock import Clock
from cdpd.config.functions import Kind
from cdpd.functions.frames import Frames, Load, Loaded, Ran, Run, decode_up, frame

LOADING: Final = 30.0
"""Seconds that a file may take to be run."""
GRACE: Final = 1.0
"""Seconds after a call's own time-out, which the process keeps itself, until it is killed."""
_TAIL: Final = 2000
"""Bytes of what it said last on its way out."""


class Gone(Exception):
    """The process ended, or was ended, before it answered; the text says why."""


class CannotLoad(Exception):
    """The file cannot be run; the text says why."""

    def __init__(self, problem: str, trace: str = "") -> None:
        super().__init__(problem)
        self.trace = trace


class _Waiting(Struct, eq=False):
    """A call that is not answered yet."""

    answered: anyio.Event
    answer: Ran | Loaded | None = None


class _Pipes(asyncio.SubprocessProtocol):
    """What comes out of the process."""

    def __init__(self, owner: FunctionProcess) -> None:
        self._owner = owner

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._owner._said(fd, data)

    def process_exited(self) -> None:
        # What it wrote last may still be on its way.
        asyncio.get_running_loop().call_soon(self._owner._exited)


class FunctionProcess:
    """Made by `start`."""

    def __init__(self, clock: Clock) -> None:
        self.handlers: frozenset[str] = frozenset()
        """Names of those that the file has."""
        self.stuck = False
        """A thread in it hangs: no further calls should go to it."""
        self.gone = ""
        """Why it is no more; "": it is."""
        self._clock = clock
        self._transport: asyncio.SubprocessTransport | None = None
        self._frames = Frames()
        self._tail = b""
        self._last_id = 0
        self._waiting: dict[int, _Waiting] = {}
        self._ended = anyio.Event()

    @classmethod
    async def start(cls, file: str, kind: Kind, settings: dict[str, Any], clock: Clock) -> FunctionProcess:
        """Run the file in a new process. Raises CannotLoad."""
        process = cls(clock)
        command = (sys.executable, "-P", "-m", "cdpd.functions.worker")
        try:
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                partial(_Pipes, process), *command, start_new_session=True
            )
        except OSError as error:
            raise CannotLoad(f"no process can be started: {error.strerror or error}") from None
        process._transport = transport
        try:
            waiting = process._waiting[0] = _Waiting(anyio.Event())
            process._write(frame(Load(file, kind, settings)))
            if not await process._answered(waiting, LOADING):
                raise CannotLoad(f"running it took longer than {LOADING:g} s")
            loaded = waiting.answer
            if not isinstance(loaded, Loaded):
                raise CannotLoad(f"its process ended while it was run: {process.gone}")
            if loaded.problem:
                raise CannotLoad(loaded.problem, loaded.trace)
            process.handlers = frozenset(loaded.handlers)
        except BaseException:
            process.kill("it could not be loaded")
            with anyio.CancelScope(shield=True):
                await process.end()
            raise
        return process

    @property
    def calls(self) -> int:
        """Calls that are not answered yet."""
        return len(self._waiting)

    async def run(self, items: Sequence[Raw], limit: float) -> Ran:
        """One result an item. Raises Gone, also where the process had to be killed because it hung."""
        if self.gone:
            raise Gone(self.gone)
        self._last_id += 1
        number = self._last_id
        waiting = self._waiting[number] = _Waiting(anyio.Event())
        self._write(frame(Run(number, list(items), limit)))
        try:
            if not await self._answered(waiting, limit + GRACE):
                self.kill(f"it did not answer for {limit + GRACE:g} s, and was ended")
                raise Gone(self.gone)
        finally:
            self._waiting.pop(number, None)
            waiting.answered.set()
        if not isinstance(waiting.answer, Ran):
            raise Gone(self.gone)
        return waiting.answer

    def kill(self, why: str) -> None:
        """End it at once; calls that wait are answered with Gone."""
        if self._transport is not None and not self.gone:
            self.gone = why
            try:
                self._transport.kill()
            except ProcessLookupError:
                pass
            self._release()

    async def end(self, seconds: float = 2.0) -> None:
        """End it once its calls are answered, or after so many seconds."""
        await self._within(self._idle, seconds)
        self.kill("it was ended")
        await self._within(self._ended.wait, seconds)
        if self._transport is not None:
            self._transport.close()

    async def _idle(self) -> None:
        while self._waiting and not self.gone:
            await next(iter(self._waiting.values())).answered.wait()

    async def _answered(self, waiting: _Waiting, seconds: float) -> bool:
        return await self._within(waiting.answered.wait, seconds)

    async def _within(self, what: Callable[[], Awaitable[object]], seconds: float) -> bool:
        """Whether it ended in time."""
        in_time = False

        async def wait() -> None:
            nonlocal in_time
            await what()
            in_time = True
            both.cancel_scope.cancel()

        async with anyio.create_task_group() as both:
            both.start_soon(wait)
            await self._clock.sleep(seconds)
            both.cancel_scope.cancel()
        return in_time

    def _write(self, data: bytes) -> None:
        pipe: Any = self._transport.get_pipe_transport(0) if self._transport is not None else None
        if pipe is not None and not pipe.is_closing():
            pipe.write(data)

    def _said(self, fd: int, data: bytes) -> None:
        if fd != 1:
            self._tail = (self._tail + data)[-_TAIL:]
            return
        try:
            for text in self._frames.feed(data):
                answer = decode_up(text)
                waiting = self._waiting.pop(0 if isinstance(answer, Loaded) else answer.id, None)
                if isinstance(answer, Ran):
                    self.stuck = self.stuck or answer.stuck
                if waiting is not None:
                    waiting.answer = answer
                    waiting.answered.set()
        except (ValueError, msgspec.DecodeError) as error:
            self.kill(f"it wrote what is no answer: {error}")

    def _exited(self) -> None:
        code = None if self._transport is None else self._transport.get_returncode()
        if not self.gone:
            tail = self._tail.decode(errors="replace").strip()
            how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
            self.gone = f"it ended {how}" + (f": {tail}" if tail else "")
        self._release()
        self._ended.set()

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.answered.set()
