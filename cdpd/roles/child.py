"""A process of its own for some roles: `python -m cdpd.roles.child NAME`, started by the supervisor and by nobody else.

Standard input is one end of a private pair of sockets: orders come in, word of how it is goes out. Where the other
end is closed the supervisor is gone, and so is this process, at once: all that matters is on disk.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import msgspec
import structlog
from msgspec import Struct

from cdpd.clock import Clock, SystemClock
from cdpd.config.data_folder import SOCKET
from cdpd.config.load import LoadedConfig
from cdpd.config.roles import named
from cdpd.control.contract import Calls, CannotDo, DiscardedFilter
from cdpd.control.server import serve_control
from cdpd.failures import foreseen
from cdpd.foreign import kind
from cdpd.ingest.sockets import Listening
from cdpd.listeners import Listeners
from cdpd.logs import Threshold, make_log
from cdpd.loop import run_loop
from cdpd.notify import Notifier
from cdpd.parts.running import Running
from cdpd.process import calm_garbage_collector
from cdpd.repeats import Repeats
from cdpd.roles.calls import APPLY, FAILED, PREPARE, ROUTES, SERIES, UNDO, control_socket
from cdpd.roles.order import Change, Order, receive
from cdpd.roles.page import supervisors_page
from cdpd.roles.routes import proxied, routes_socket, serve_routes
from cdpd.roles.series import encoded

_PR_SET_PDEATHSIG: Final = 1


class _Numbered(Struct, forbid_unknown_fields=True, frozen=True):
    """The body of PREPARE: which change."""

    number: int


class Word(Notifier):
    """How this process is, to the supervisor: what others tell a service manager."""

    def __init__(self, sock: socket.socket, watchdog: float | None) -> None:
        super().__init__(None, watchdog)
        self._sock = sock

    @property
    def listens(self) -> bool:
        return True

    def _send(self, *lines: str) -> None:
        text = "".join(f"{' '.join(line.split())}\n" for line in lines).encode()
        try:
            self._sock.send(text, socket.MSG_DONTWAIT)
        except OSError:
            pass  # it hears the next one, or is gone

    def failed(self, reason: str) -> None:
        """Why the start failed."""
        self._send(f"{FAILED}={reason}")


class Child:
    """Some roles, until SIGTERM. Serves the control API of this process (cdpd/roles/calls.py)."""

    def __init__(
        self,
        order: Order,
        sock: socket.socket,
        word: Word,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        threshold: Threshold,
    ) -> None:
        self._order = order
        self._sock = sock
        self._word = word
        self._clock = clock
        self._log = log
        self._threshold = threshold
        self._not_ready: str | None = "starting"
        self._starting: anyio.CancelScope
        self._stop = anyio.Event()
        self._changes: dict[int, LoadedConfig] = {}
        self._arrived = anyio.Event()
        self._prepared: LoadedConfig | None = None
        self._running: Running

    async def run(self) -> None:
        """Start, serve until SIGTERM, drain, stop."""
        # SIGINT comes to the supervisor too (Ctrl-C), and SIGHUP is its business: it says here what is to be done.
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with anyio.create_task_group() as whole:
                with anyio.CancelScope() as self._starting:
                    whole.start_soon(self._mind, signals)
                    self._listen_to_supervisor()
                    await self._run()
                whole.cancel_scope.cancel()

    async def _mind(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for received in signals:
            if received == signal.SIGTERM and not self._stop.is_set():
                self._stop.set()
                if self._not_ready == "starting":
                    self._starting.cancel()

    async def _run(self) -> None:
        order, data_dir = self._order, self._order.loaded.data_dir
        places = [_inherited(place.listen, place.descriptors) for place in order.listening]
        opening = Running.open(
            order.loaded,
            order.roles,
            Listeners(places, settled=order.settled),
            lambda: self._not_ready,
            self._clock,
            self._log,
            self._threshold,
            lambda local: supervisors_page(local, data_dir / SOCKET),
            proxied(routes_socket(data_dir), order.routes),
        )
        async with opening as running:
            self._running = running
            path, calls = control_socket(data_dir, named(order.roles)), {**running.calls(), **self._calls()}
            async with (
                running.work(self._word),
                self._serve_routes(),
                serve_control(path, self, self._log, calls),
                running.serve(),
            ):
                self._not_ready = None
                calm_garbage_collector()
                self._log.info("process started", pid=os.getpid())
                self._word.ready(running.line())
                await self._stop.wait()
                self._not_ready = "stopping"

    @asynccontextmanager
    async def _serve_routes(self) -> AsyncIterator[None]:
        """Where hooks have HTTP routes and ingest is elsewhere: serve them for it inside the `with`."""
        routes = self._running.routes
        if routes and "ingest" not in self._order.roles:
            async with serve_routes(routes_socket(self._order.loaded.data_dir), routes):
                yield
        else:
            yield

    def _listen_to_supervisor(self) -> None:
        """Changes that it hands over; its end is ours. In a thread of its own, so that a busy loop delays neither."""
        loop = asyncio.get_running_loop()

        def listen() -> None:
            while True:
                try:
                    message = receive(self._sock)
                except OSError:
                    message = None
                if not isinstance(message, Change):
                    os._exit(1)
                loop.call_soon_threadsafe(self._arrive, message)

        threading.Thread(target=listen, name="cdpd-orders", daemon=True).start()

    def _arrive(self, change: Change) -> None:
        self._changes = {change.number: change.loaded}
        arrived, self._arrived = self._arrived, anyio.Event()
        arrived.set()

    # -- the control API ---------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        return self._running.status()

    async def reload(self) -> dict[str, Any]:
        raise CannotDo("one process alone is not reloaded: ask the daemon's own socket")

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        return await self._running.retry_discarded(which, dry_run)

    async def reopen(self) -> dict[str, Any]:
        self._running.reopen()
        return {}

    def _calls(self) -> Calls:
        """What only the supervisor asks."""

        async def prepare(body: bytes) -> dict[str, Any]:
            number = msgspec.json.decode(body, type=_Numbered).number
            while number not in self._changes:
                await self._arrived.wait()
            loaded = self._changes[number]
            different = await self._running.prepare(loaded)
            self._prepared = loaded
            return different

        async def apply(_: bytes) -> dict[str, Any]:
            loaded, self._prepared = self._prepared, None
            if loaded is not None:
                await self._running.apply(loaded)
            return {}

        async def undo(_: bytes) -> dict[str, Any]:
            if self._prepared is not None:
                self._prepared = None
                await self._running.undo()
            return {}

        async def series(_: bytes) -> dict[str, Any]:
            return encoded(self._running.observation.scrape.local())

        async def routes(_: bytes) -> dict[str, Any]:
            return {"routes": list(self._running.routes)}

        return {PREPARE: prepare, APPLY: apply, UNDO: undo, SERIES: series, ROUTES: routes}


def _inherited(listen: Any, descriptors: list[int]) -> Listening:
    sockets = []
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        sockets.append(sock)
    return Listening(listen, sockets)


def die_with_parent() -> None:
    """Where the system can, this process ends with the one that started it, even while its loop is stuck."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Run the process that the supervisor wants; its exit code."""
    die_with_parent()
    # Until the loop minds them: a stop is an end, and the others are the supervisor's.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=os.dup(0))
    sock.setblocking(True)
    # Programs that plugins start must not hold it open.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    order = receive(sock)
    if not isinstance(order, Order):
        return 1
    for descriptor in order.inherited:
        os.set_inheritable(descriptor, False)
    word = Word(sock, order.watchdog)
    logging = order.loaded.config.logging
    threshold, clock = Threshold(logging.level), SystemClock()
    repeats = Repeats(clock.monotonic)
    log = make_log(logging, sys.stderr, threshold, repeats).bind(process=named(order.roles))
    child = Child(order, sock, word, clock, log, threshold)

    try:
        run_loop(child.run, repeats, clock, log)
    except Exception as error:
        told = foreseen(error, order.loaded.data_dir)
        word.failed(told or f"{kind(error)}; its traceback is in the log")
        if told is None:
            log.error("the process failed", exc_info=error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
