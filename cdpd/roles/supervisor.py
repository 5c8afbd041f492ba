"""The daemon in several processes: the one that starts them, hands them sockets and configuration, and watches them.

It takes no events itself. It holds the listening sockets, so that requests wait where ingest is started again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import structlog

from cdpd.changes import changed, details
from cdpd.clock import Clock
from cdpd.config.address import listens, parse_mode
from cdpd.config.data_folder import SOCKET
from cdpd.config.load import LoadedConfig
from cdpd.config.problem import ConfigError, Problem
from cdpd.config.roles import ROLES, Role
from cdpd.control.client import ControlClient, ControlRefused, NotRunning
from cdpd.control.contract import Busy, Calls, DiscardedFilter
from cdpd.control.server import serve_control
from cdpd.foreground import Foreground, RunOptions
from cdpd.ingest.sockets import Listening, bind_all
from cdpd.listeners import Listeners
from cdpd.logs import Threshold
from cdpd.metrics import Metrics, Series
from cdpd.notify import Notifier
from cdpd.observation import Observation
from cdpd.roles.calls import APPLY, PREPARE, ROUTES, SERIES, UNDO
from cdpd.roles.forward import forwarded, passed_on
from cdpd.roles.order import Change, Inherited, Order
from cdpd.roles.page import WholePage
from cdpd.roles.process import RoleProcess
from cdpd.roles.series import decoded, encoded, merged, of_process
from cdpd.roles.whole import whole_status
from cdpd.scrape import gauges
from cdpd.streams import open_streams, stream_options
from cdpd.watchdog import EVERY

_PATIENCE = 5.0
"""Seconds for a process to say how it is."""
_LONG = 3600.0
"""Seconds for what goes through a stream, or starts plugins."""


class Supervisor(Foreground):
    """One daemon over one data folder. Serves the control API (cdpd/control/contract.py) for all its processes."""

    def __init__(
        self,
        loaded: LoadedConfig,
        options: RunOptions,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        threshold: Threshold,
        notifier: Notifier,
        handed: Sequence[Listening],
        lock: int,
    ) -> None:
        """`lock` is the data folder's (data_lock.py), as an open file descriptor."""
        super().__init__(options, log, notifier)
        self._loaded = loaded
        self._clock = clock
        self._threshold = threshold
        self._handed = handed
        self._lock = lock
        self._listeners = Listeners(handed, options.listen)
        self._places: list[Listening] = []
        self._routes: list[str] = []
        """Hooks with HTTP routes."""
        self._started_ms = clock.now_ms()
        self._numbers = count(1)
        groups = sorted(loaded.config.process.roles, key=lambda roles: min(map(ROLES.index, roles)))
        self._processes = [RoleProcess(roles, loaded.data_dir, clock, log) for roles in groups]
        """In the order in which an event comes by, and in which they are stopped."""
        self._metrics = Metrics()
        own = gauges.Parts(
            streams=(),
            pipeline=None,
            destinations=None,
            load=None,
            ready=lambda: self.not_ready is None and all(p.state == "running" for p in self._processes),
            sources=list,
        )
        self.observation = Observation(
            loaded=lambda: self._loaded,
            parts=own,
            clock=clock,
            metrics=self._metrics,
            log=log,
            page=lambda local: WholePage(local, self._series),
        )

    @property
    def loaded(self) -> LoadedConfig:
        return self._loaded

    async def _run(self) -> None:
        # Recovery looks at all streams together: here, before anybody writes one of them.
        async with open_streams(
            self._loaded.data_dir, stream_options(self._loaded.config), self._clock, Metrics(), self._log
        ):
            pass
        async with self._bound(), anyio.create_task_group() as tasks:
            for process in self._processes:
                sockets = self._descriptors if "ingest" in process.roles else []
                tasks.start_soon(process.run, partial(self._order, process), [self._lock, *sockets])
            for process in self._processes:
                await process.ready.wait()
            tasks.start_soon(self.observation.run)
            tasks.start_soon(self._watch)
            async with (
                serve_control(self._loaded.data_dir / SOCKET, self, self._log, self._calls()),
                self.observation.serve(),
            ):
                bound = [place.listen for place in self._places]
                await self.until_stopped(self._loaded, bound, self._line())
                for place in self._places:
                    place.close()
                for process in self._processes:
                    process.retire()
                for process in self._processes:
                    await process.stop()
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def _bound(self) -> AsyncIterator[None]:
        """With the sockets for requests open inside the `with`. Raises ListenError."""
        http = self._loaded.config.http
        self._places = list(self._handed) or bind_all(
            listens(self._options.listen or http.listen), parse_mode(http.unix_mode)
        )
        try:
            yield
        finally:
            for place in self._places:
                place.close()

    @property
    def _descriptors(self) -> list[int]:
        return [sock.fileno() for place in self._places for sock in place.sockets]

    async def _order(self, process: RoleProcess) -> Order:
        """What a process is to do: the configuration that runs, not the one in the files."""
        if "ingest" in process.roles:
            # A new destination misses nothing that comes from its first moment on; and nobody is asked in vain.
            for other in self._processes:
                if other is not process:
                    await other.ready.wait()
            await self._learn_routes()
        async with self._reloading:
            places = self._places if "ingest" in process.roles else []
            return Order(
                roles=process.roles,
                loaded=self._loaded,
                listening=[
                    Inherited(place.listen, [sock.fileno() for sock in place.sockets]) for place in places
                ],
                inherited=[self._lock],
                routes=self._routes if "process" not in process.roles else (),
                settled=self._listeners.settled,
                watchdog=self._notifier.watchdog,
            )

    async def _learn_routes(self) -> None:
        """Which hooks have HTTP routes; as it was, where the process that runs them is not there at the moment."""
        process = self._having("process")
        if "ingest" not in process.roles:
            try:
                self._routes = (await process.ask(lambda client: client.call(ROUTES), _PATIENCE))["routes"]
            except (NotRunning, ControlRefused):
                pass

    def _having(self, role: Role) -> RoleProcess:
        return next(process for process in self._processes if role in process.roles)

    # -- how it is ---------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Tell the manager that all is well, while every process says so; one that hangs is ended, and starts again."""
        if not self._notifier.listens:
            return
        watchdog = self._notifier.watchdog
        while True:
            now = self._clock.monotonic()
            hung = [
                p for p in self._processes if p.state == "running" and watchdog and now - p.heard > watchdog
            ]
            for process in hung:
                self._log.error(
                    "a process of the daemon hangs", process=process.name, silent=round(now - process.heard)
                )
                process.end_hung()
            if not hung:
                self._notifier.alive()
            self._notifier.status(self._line())
            await self._clock.sleep(EVERY if watchdog is None else watchdog / 3)

    def _line(self) -> str:
        return "; ".join(
            process.line if process.state == "running" else f"{process.name}: {process.state}"
            for process in self._processes
        )

    async def _ask_all(self, name: str) -> list[dict[str, Any] | None]:
        """What each process answers at once; None where it does not."""
        answers: list[dict[str, Any] | None] = [None] * len(self._processes)

        async def ask(i: int, process: RoleProcess) -> None:
            try:
                answers[i] = await process.ask(lambda client: client.call(name), _PATIENCE)
            except (NotRunning, ControlRefused, OSError):
                pass

        async with anyio.create_task_group() as asking:
            for i, process in enumerate(self._processes):
                asking.start_soon(ask, i, process)
        return answers

    async def _series(self) -> list[Series]:
        answers = await self._ask_all(SERIES)
        parts = [one for answer in answers if answer is not None for one in decoded(answer)]
        return merged([*self.observation.scrape.local(), *await self._own_series()], parts)

    async def _own_series(self) -> list[Series]:
        """Of the processes themselves."""
        seen = [(p.name, p.state == "running", p.starts, p.pid) for p in self._processes]
        return await anyio.to_thread.run_sync(lambda: [one for each in seen for one in of_process(*each)])

    # -- the control API ---------------------------------------------------------------------------------

    def _calls(self) -> Calls:
        async def series(_: bytes) -> dict[str, Any]:
            return encoded(await self._series())

        return {**forwarded(self._having), SERIES: series}

    async def status(self) -> dict[str, Any]:
        told = await self._ask_all("GET /status")
        whole = partial(
            whole_status,
            state=self.not_ready or "running",
            uptime_ms=self._clock.now_ms() - self._started_ms,
            loaded=self._loaded,
            listen={"listen": [place.listen.url for place in self._places]},
            processes=self._processes,
            told=told,
        )
        return await anyio.to_thread.run_sync(whole)

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        return await passed_on(
            self._having("ingest"), lambda client: client.retry_discarded(which, dry_run), _LONG
        )

    async def reopen(self) -> dict[str, Any]:
        await self._ask_all("POST /reopen")
        return {}

    async def _apply(self, loaded: LoadedConfig) -> dict[str, Any]:
        if self.asked_to_stop:
            raise ConfigError([Problem("the daemon is stopping: nothing was changed")])
        change = Change(next(self._numbers), loaded)
        answers: list[dict[str, Any]] = []
        prepared: list[RoleProcess] = []
        try:
            # The process that delivers is the last: it cannot take back what it has prepared (DeliverPart.prepare).
            for process in sorted(self._processes, key=lambda process: "deliver" in process.roles):
                if process.ordered:
                    await process.settled()
                if process.state != "running":
                    continue  # it is given the new configuration when it starts
                process.hand_over(change)
                answers.append(await _asked(process, PREPARE, change.number))
                prepared.append(process)
        except BaseException:
            with anyio.CancelScope(shield=True):
                for process in prepared:
                    await _asked_if_there(process, UNDO)
            raise
        different = {
            "changed": changed(self._loaded, loaded),
            "details": msgspec.to_builtins(details(self._loaded, loaded)),
        }
        self._loaded = msgspec.structs.replace(loaded, data_dir=self._loaded.data_dir)
        self._threshold.level = loaded.config.logging.level
        for process in prepared:
            await _asked_if_there(process, APPLY)
        return different | _together(answers)


async def _asked(process: RoleProcess, name: str, number: int) -> dict[str, Any]:
    body = msgspec.json.encode({"number": number})

    def call(client: ControlClient) -> dict[str, Any]:
        return client.call(name, body)

    try:
        return await passed_on(process, call, _LONG)
    except Busy as error:
        raise Busy(f"{error}; nothing was changed") from error


async def _asked_if_there(process: RoleProcess, name: str) -> None:
    """One that has ended meanwhile is given the right configuration when it is started again."""
    try:
        await process.ask(lambda client: client.call(name), _LONG)
    except NotRunning:
        pass


def _together(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What processes answered to PREPARE: lists, joined, each entry once."""
    return {
        key: list(dict.fromkeys(entry for answer in answers for entry in answer[key]))
        for key in ("needs_restart", "warnings")
    }
