"""Ingest: takes each request, finds who answers it, and turns whatever happens into an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import anyio
import anyio.lowlevel
import structlog
from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web import AbstractRouteDef, BaseRequest, RequestHandler, StreamResponse

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.ingest import routes
from cdpd.ingest.answers import Answer, Answers
from cdpd.ingest.at_once import AppendThen, AtOnce
from cdpd.ingest.cors import FOR_ANYBODY
from cdpd.ingest.endpoints import Endpoints
from cdpd.ingest.express import Express, ExpressRequest
from cdpd.ingest.full_http import FullConnection, FullRequest, FullServer, response
from cdpd.ingest.in_flight import InFlight
from cdpd.ingest.key_use import KeyUse
from cdpd.ingest.metrics_page import MetricsPage
from cdpd.ingest.refusal import Refused
from cdpd.ingest.request import Request
from cdpd.ingest.settings import IngestSettings
from cdpd.ingest.tracking import Append, Tracking
from cdpd.ingest.watch import Phase, Watch
from cdpd.ingest.webhooks import Functions
from cdpd.metrics import Metrics
from cdpd.oauth.contract import OAuth

GRACE: Final = 2.0
"""Seconds that a connection without a request yet gets when the daemon stops."""


class Ingest:
    """The tracking API over one `append`.

    `append(lines, config_id)` returns once the lines are durable; AppendFailed becomes a 503. `ready()` says
    None, or why traffic should not come here yet. `oauth` answers token requests and knows tokens; `page` is
    what /metrics shows; `functions` are those of sources.
    """

    def __init__(
        self,
        *,
        settings: IngestSettings,
        append: Append,
        append_then: AppendThen | None = None,
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        ready: Callable[[], str | None],
        keys: KeyUse | None = None,
        oauth: OAuth | None = None,
        page: MetricsPage | None = None,
        functions: Functions | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._monotonic = clock.monotonic
        self._log = log
        self._in_flight = InFlight(settings.max_in_flight_bytes)
        self._answers = Answers(clock)
        self.keys = keys or KeyUse()
        """When each write key was last used."""
        self._tracking = Tracking(append, clock, metrics, log, self._in_flight, self.keys, oauth)
        self._endpoints = Endpoints(
            answers=self._answers,
            tracking=self._tracking,
            in_flight=self._in_flight,
            oauth=oauth,
            page=page,
            clock=clock,
            metrics=metrics,
            log=log,
            ready=ready,
            functions=functions,
        )
        self._at_once = None
        if append_then is not None:
            self._at_once = AtOnce(self._tracking, append_then, clock, metrics, self._in_flight, self.keys)
        self.watch = Watch(clock, settings, self.handle, self.handle_at_once)
        """The connections and their deadlines; `serve` runs its sweep."""
        self._active = 0
        self._plugins = web.Application()
        self._mounted: set[str] = set()
        self._plugin_server: web.Server | None = None
        self._full: FullServer | None = None

    def apply(self, settings: IngestSettings) -> None:
        """Take new settings; requests that are being handled go on with the old ones."""
        self._settings = self.watch.settings = settings
        self._in_flight.limit = settings.max_in_flight_bytes

    def close_for(self, refusal: Callable[[], Refused] | None) -> None:
        """Refuse all events, each request with a refusal of its own, until this is called with None."""
        self._tracking.closed = refusal

    def mount(self, name: str, routes: Iterable[AbstractRouteDef]) -> None:
        """Serve a plugin's routes under `/-/NAME/`. Before `serve` only.

        They get aiohttp's ordinary requests, with bodies as sent (compressed ones stay compressed).
        """
        plugin = web.Application()
        plugin.add_routes(routes)
        self._plugins.add_subapp(plugin_prefix(name), plugin)
        self._mounted.add(name)

    def server(self, *, tls: bool = False) -> Callable[[], asyncio.Protocol]:
        """What makes a protocol for each connection of a listening socket; call it inside the loop."""
        if self._full is None:
            self._full = FullServer(self._handle_full, self._make_request, self.watch, self._on_error)
        watch, full = self.watch, self._full
        if not tls:
            return lambda: Express(watch, full)

        def accepted() -> Express:
            connection = Express(watch, full, tls=True)
            watch.accepted.add(connection)
            return connection

        return accepted

    async def stop(self) -> None:
        """Cut the connections that are left."""
        await self.watch.end()
        if self._full is not None:
            await self._full.shutdown(1.0)

    async def start_plugins(self) -> web.AppRunner:
        """Make the plugins' routes ready; `cleanup` of what this returns ends them."""
        runner = web.AppRunner(self._plugins, access_log=None)
        await runner.setup()
        self._plugin_server = runner.server
        return runner

    # -- stopping ----------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Close what is idle and wait until every request that has begun is answered.

        A client whose connection ends before it was answered at all need not try again. So new connections, and
        headers that have begun, get GRACE seconds to become requests.
        """
        self._answers.closing = True
        await anyio.lowlevel.checkpoint()  # what was accepted last becomes a connection
        for connection in list(self.watch.connections):
            if connection.phase is Phase.IDLE and not connection.fresh and connection.transport is not None:
                connection.transport.close()
        with anyio.move_on_after(GRACE):
            await self.watch.until(lambda: not self.watch.expected())
        for connection in self.watch.expected():
            if connection.transport is not None:
                connection.transport.close()
        await self.watch.until(lambda: not self._active and not self.watch.working())
        with anyio.move_on_after(GRACE):  # each answer ends its connection, once it is on its way
            await self.watch.until(
                lambda: all(one.phase is Phase.LINGERING for one in self.watch.connections)
            )

    @property
    def active(self) -> int:
        """Requests that are being handled."""
        return self._active

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of bodies and lines in memory."""
        return self._in_flight.total

    # -- a request ---------------------------------------------------------------------------------------

    async def handle(self, request: Request) -> Answer:
        """Answer one request. Raises ConnectionError only: the client is gone."""
        self._active += 1
        began = self._monotonic()
        path = "other"
        try:
            endpoint = routes.EVENTS.get(request.path)
            if endpoint is not None and request.method == "POST":
                path = endpoint.path
                await self._tracking.take(request, endpoint, self._settings)
                answer = self._answers.success(request)
            else:
                route = self._endpoints.route(request)
                path = route.label
                answer = await route.serve(request, self._settings)
        except Refused as refused:
            self._metrics.add(names.REJECTED, refused.code)
            answer = self._answers.refused(request, refused)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - one failed request must not end the connection unanswered
            answer = self._failed(request, path, error)
        finally:
            self._active -= 1
            if self.watch.moved is not None:
                self.watch.moved.set()
        self._count(path, answer.status, began)
        return answer

    def handle_at_once(self, request: ExpressRequest, then: Callable[[Answer], None]) -> bool:
        """Begin to answer an ordinary POST of events without a task; False, and nothing done, for any other.

        `then` gets the answer, later.
        """
        endpoint = routes.EVENTS.get(request.path)
        if endpoint is None or request.method != "POST" or self._at_once is None:
            return False
        began = self._monotonic()

        def ended(refused: Refused | None) -> None:
            self._active -= 1
            try:
                if refused is None:
                    answer = self._answers.success(request)
                else:
                    self._metrics.add(names.REJECTED, refused.code)
                    answer = self._answers.refused(request, refused)
                self._count(endpoint.path, answer.status, began)
                then(answer)
            except Exception as error:  # noqa: BLE001 - others wait for the same write: none may suffer for this one
                self._failed(request, endpoint.path, error)
            if self.watch.moved is not None:
                self.watch.moved.set()

        if not self._at_once.take(request, endpoint, self._settings, ended):
            return False
        self._active += 1
        return True

    def _count(self, path: str, status: int, began: float) -> None:
        self._metrics.add(names.REQUESTS, path, str(status))
        self._metrics.observe(names.REQUEST_SECONDS, self._monotonic() - began, path)

    def _failed(self, request: Request, path: str, error: Exception) -> Answer:
        """A mistake of ours: told in the log, and in the answer that there was one."""
        # Not the path as sent: a write key may stand in it.
        self._log.error("a request failed", method=request.method, path=path, exc_info=error)
        self._metrics.add(names.REJECTED, "internal_error")
        return self._answers.refused(
            request,
            Refused(500, "internal_error", "cdpd failed at this request; its log says why", close=True),
        )

    # -- requests that aiohttp reads -----------------------------------------------------------------------

    async def _handle_full(self, base: BaseRequest) -> StreamResponse:
        connection = base.protocol
        assert isinstance(connection, FullConnection)
        connection.working()
        try:
            if self._plugin_server is not None and base.rel_url.raw_path.startswith(routes.PLUGINS):
                began = self._monotonic()
                answer = await self._plugin(base, connection, self._plugin_server)
                self._count(self._plugin_label(base), answer.status, began)
                return answer
            return response(base, await self.handle(FullRequest(base, connection)))
        finally:
            connection.answered(base.content.is_eof())

    def _plugin_label(self, base: BaseRequest) -> str:
        """What a request of a plugin's route is counted as: its beginning, where there is such a plugin."""
        name = base.rel_url.raw_path.removeprefix(routes.PLUGINS).partition("/")[0]
        return routes.PLUGINS + name if name in self._mounted else "other"

    async def _plugin(
        self, base: BaseRequest, connection: FullConnection, server: web.Server
    ) -> StreamResponse:
        """A plugin's own answer; where no route is met, an error like all others."""
        self._active += 1
        try:
            return await server.request_handler(base)
        except web.HTTPException as error:
            if error.status < 400 or error.text != f"{error.status}: {error.reason}":
                raise
            refused = Refused(
                error.status,
                "not_found" if error.status == 404 else "bad_request",
                error.reason,
                allow=error.headers.get("Allow", ""),
            )
            return response(base, self._answers.refused(FullRequest(base, connection), refused))
        finally:
            self._active -= 1
            if self.watch.moved is not None:
                self.watch.moved.set()

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> BaseRequest:
        """The request object: aiohttp's full one for plugins, the bare one for all else."""
        if self._plugin_server is not None and message.path.startswith(routes.PLUGINS):
            return self._plugin_server.request_factory(message, payload, protocol, writer, task)
        return BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())

    def _on_error(self, base: BaseRequest, refused: Refused, error: BaseException | None) -> Answer:
        connection = base.protocol
        assert isinstance(connection, FullConnection)
        if error is not None:
            self._log.error("a request failed", path=self._plugin_label(base), exc_info=error)
        self._metrics.add(names.REJECTED, refused.code)
        self._metrics.add(names.REQUESTS, "other", str(refused.status))
        origin = None if base.headers else FOR_ANYBODY
        return self._answers.refused(FullRequest(base, connection), refused, origin=origin)


def plugin_prefix(name: str) -> str:
    """Where a plugin's routes are."""
    return f"{routes.PLUGINS}{name}/"
