"""A process of the daemon as its supervisor sees it: started, heard, asked, started again when it ends, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import anyio.to_thread
import structlog
from anyio.abc import Process

from cdpd.clock import Clock
from cdpd.config.roles import Role, named
from cdpd.control.client import ControlClient
from cdpd.delivery.delivery import GRACE as DELIVERY_GRACE
from cdpd.failures import StartFailed
from cdpd.ingest.ingest import GRACE as FRESH_GRACE
from cdpd.ingest.server import DRAIN
from cdpd.pipeline.finishing import GRACE as COMMIT_GRACE
from cdpd.roles.calls import FAILED, control_socket
from cdpd.roles.order import Change, Order, packed

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0
LONGEST_WAIT_UNREADY: Final = 60.0
"""Seconds until a process that ended is started again; doubled each time, further where it did not get ready …"""
PROVEN: Final = 30.0
"""… until one has run for so long."""
_OF_SYSTEMD: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What is the supervisor's own business."""
_BOUNDS: Final[dict[Role, float]] = {
    "ingest": FRESH_GRACE + DRAIN,
    "process": COMMIT_GRACE,
    "deliver": DELIVERY_GRACE,
}
"""Seconds that the end of a role may take by its own bounds …"""
_AND_A_BIT: Final = 3.0
"""… and what the end of a process takes besides."""

State = Literal["starting", "running", "stopping", "waiting", "stopped"]


class RoleProcess:
    """One group of `[process] roles`. For one event loop."""

    def __init__(
        self, roles: Sequence[Role], data_dir: Path, clock: Clock, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self.roles = roles
        self.name = named(roles)
        self.state: State = "starting"
        self.pid: int | None = None
        self.starts = 0
        self.ordered = False
        """Whether it has got its configuration, since it was started last."""
        self.line = ""
        """How it is, in its own words."""
        self.heard = clock.monotonic()
        """When it last said that all is well."""
        self.ready = anyio.Event()
        """Set once it was ready for the first time."""
        self._clock = clock
        self._log = log.bind(process=self.name)
        self._control = control_socket(data_dir, self.name)
        self._stopping = False
        self._scope: anyio.CancelScope
        self._ended = anyio.Event()
        self._settled = anyio.Event()
        self._process: Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reason = ""

    async def run(self, order: Callable[[], Awaitable[Order]], descriptors: Sequence[int]) -> None:
        """Keep it running until `stop`. `order` makes what it is given; it inherits `descriptors`.

        Raises StartFailed where it has never been ready: then nothing is tried again.
        """
        wait = FIRST_WAIT
        try:
            with anyio.CancelScope() as self._scope:
                while True:
                    begun = self._clock.monotonic()
                    code = await self._once(order, descriptors)
                    if self._stopping:
                        break
                    reason = self._reason or _described(code)
                    if not self.ready.is_set():
                        raise StartFailed(f'the process "{self.name}" did not start: {reason}')
                    if self._clock.monotonic() - begun > PROVEN:
                        wait = FIRST_WAIT
                    longest = LONGEST_WAIT if self.state == "running" else LONGEST_WAIT_UNREADY
                    self.state, self.pid = "waiting", None
                    self._log.error(
                        "a process of the daemon ended; it is started again, and the others go on",
                        reason=reason,
                        again_in_seconds=wait,
                    )
                    self._settled.set()
                    await self._clock.sleep(wait)
                    wait = min(wait * 2, longest)
        finally:
            self.state, self.pid = "stopped", None
            self._settled.set()
            self._ended.set()

    async def _once(self, order: Callable[[], Awaitable[Order]], descriptors: Sequence[int]) -> int:
        """Start it, and return its exit code when it has ended."""
        ours, its = socket.socketpair()
        environ = {name: text for name, text in os.environ.items() if name not in _OF_SYSTEMD}
        self.state, self._reason, self.line, self._settled = "starting", "", "", anyio.Event()
        self.ordered = False
        self.starts += 1
        try:
            self._process = process = await anyio.open_process(
                [sys.executable, "-P", "-m", "cdpd.roles.child", self.name],
                stdin=its.fileno(),
                stdout=None,
                stderr=None,
                env=environ,
                start_new_session=True,
                pass_fds=descriptors,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()
        self.pid = process.pid
        try:
            reader, self._writer = await asyncio.open_connection(sock=ours)
            async with anyio.create_task_group() as tasks:
                silent = anyio.Event()
                tasks.start_soon(self._hear, reader, silent)
                tasks.start_soon(self._give, order)
                code = await process.wait()
                with anyio.move_on_after(1.0):  # what it said last
                    await silent.wait()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await _put_down(process)
                if self._writer is not None:
                    self._writer.close()
                self._process = self._writer = None
        return code

    async def _give(self, order: Callable[[], Awaitable[Order]]) -> None:
        message = await order()
        self.ordered = True
        self._send(message)

    def _send(self, message: Order | Change) -> None:
        if self._writer is not None:
            self._writer.write(packed(message))

    async def _hear(self, reader: asyncio.StreamReader, silent: anyio.Event) -> None:
        """Its words, as sd_notify(3) has them, a line each, until it ends."""
        try:
            async for line in reader:
                key, _, text = line.decode(errors="replace").rstrip("\n").partition("=")
                self.heard = self._clock.monotonic()
                if key == "READY":
                    if self.state == "starting":
                        self.state = "running"
                    self.ready.set()
                    self._settled.set()
                elif key == "STATUS":
                    self.line = text
                elif key == FAILED:
                    self._reason = text
        except (OSError, ValueError):  # cut off in the middle
            pass
        finally:
            silent.set()

    # -- for the supervisor ------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Return once it is not starting: it runs, or waits to be started again."""
        await self._settled.wait()

    def hand_over(self, change: Change) -> None:
        """Let it have another configuration; `ask` it to prepare for it then."""
        self._send(change)

    async def ask(
        self, call: Callable[[ControlClient], dict[str, Any]], seconds: float = 60.0
    ) -> dict[str, Any]:
        """Ask it over its control socket. Raises NotRunning, ControlRefused."""
        return await anyio.to_thread.run_sync(
            call, ControlClient(self._control, seconds), abandon_on_cancel=True
        )

    def end_hung(self) -> None:
        """End it by force: it has been silent for too long. It is started again."""
        self._reason = "it hung, and was ended"
        if self._process is not None:
            self._process.kill()

    def retire(self) -> None:
        """It is not started again: the daemon ends."""
        self._stopping = True
        if self._process is None and not self._ended.is_set():  # it waits for that
            self._scope.cancel()

    async def stop(self) -> None:
        """SIGTERM, and wait until it has finished what it has begun; by force where that takes too long."""
        self.retire()
        if self._process is not None:
            self.state = "stopping"
            _signal(self._process, signal.SIGTERM)
            bound = sum(_BOUNDS[role] for role in self.roles) + _AND_A_BIT
            with anyio.move_on_after(bound) as patience:
                await self._ended.wait()
            if patience.cancelled_caught:
                self._log.error(
                    "a process of the daemon did not stop in time; it is ended by force", seconds=bound
                )
                self._scope.cancel()
        await self._ended.wait()


async def _put_down(process: Process) -> None:
    """What still runs ends now."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        with anyio.move_on_after(3.0):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        pass  # it has just ended


def _described(code: int) -> str:
    if code < 0:
        return f"{signal.Signals(-code).name} ended it"
    return f"it ended with exit code {code}; its log says why"
