"""What is served beside the event endpoints: pixels, boot documents, tokens, health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import unquote

import msgspec
import structlog
from msgspec import Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.ingest import health, objects, routes, webhooks
from cdpd.ingest.answers import Answer, Answers
from cdpd.ingest.auth import by_header, by_key, query_key
from cdpd.ingest.body import read_body
from cdpd.ingest.browser_library import FOR_ALL, KIND, served
from cdpd.ingest.cors import preflight
from cdpd.ingest.in_flight import Charge, InFlight
from cdpd.ingest.metrics_page import MetricsPage
from cdpd.ingest.objects import Objects
from cdpd.ingest.pixel import GIF, Pixel
from cdpd.ingest.refusal import Refused
from cdpd.ingest.request import Request
from cdpd.ingest.settings import IngestSettings, KnownSource
from cdpd.ingest.settings_document import CACHE, accepts_gzip, compressed, settings_document
from cdpd.ingest.source_config import source_config
from cdpd.ingest.tracking import Tracking
from cdpd.ingest.webhooks import Functions, Webhooks
from cdpd.metrics import Metrics
from cdpd.oauth.contract import MAX_BODY, OAuth

Serve = Callable[[Request, IngestSettings], Awaitable[Answer]]

_READ: Final = ("GET", "HEAD")
_NO_STORE: Final = b"Cache-Control: no-store\r\n"


class Route(Struct, frozen=True):
    """Who answers at a path, to which methods, and under which name it is counted."""

    label: str
    methods: tuple[str, ...]
    serve: Serve


class Endpoints:
    """Answers requests that are no POST of events."""

    def __init__(
        self,
        *,
        answers: Answers,
        tracking: Tracking,
        in_flight: InFlight,
        oauth: OAuth | None,
        page: MetricsPage | None,
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        ready: Callable[[], str | None],
        functions: Functions | None = None,
    ) -> None:
        self._answers = answers
        self._tracking = tracking
        self._in_flight = in_flight
        self._oauth = oauth
        self._page = page
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._ready = ready
        self._webhooks = Webhooks(tracking, in_flight, clock, functions)
        self._objects = Objects(tracking, in_flight, clock, metrics)
        self._routes = self._table()
        self._preflight = Route("preflight", ("OPTIONS",), self._allow)

    def route(self, request: Request) -> Route:
        """Who answers it. Raises Refused."""
        path = request.path
        if request.method == "OPTIONS":
            return self._preflight
        if path in routes.EVENTS:
            raise _not_allowed(request.method, ("POST",))
        route = self._routes.get(path) or self._named_in(path)
        if route is None:
            raise _nothing_at(path)
        if request.method not in route.methods:
            raise _not_allowed(request.method, route.methods)
        return route

    def _table(self) -> dict[str, Route]:
        """By path."""
        found = {path: Route(pixel.path, _READ, self._pixel(pixel)) for path, pixel in routes.PIXELS.items()}
        metrics = Route(routes.METRICS, ("POST",), self._swallow)
        token = Route("/token", ("POST",), self._token)
        config = Route("/sourceConfig", _READ, self._source_config)
        for path in (routes.METRICS, *routes.TOKENS, *routes.SOURCE_CONFIG):
            route = metrics if path == routes.METRICS else token if path in routes.TOKENS else config
            found[path] = found[path + "/"] = route
        for path in (objects.PATH, objects.PATH + "/"):
            found[path] = Route(objects.PATH, ("POST",), self._set)
        for path in routes.LIVE:
            found[path] = Route(path, _READ, self._live)
        found[routes.READY] = Route(routes.READY, _READ, self._readiness)
        found[routes.ROBOTS] = Route(routes.ROBOTS, _READ, self._robots)
        found[routes.SCRAPE] = Route(routes.SCRAPE, _READ, self._metrics_page)
        return found

    def _named_in(self, path: str) -> Route | None:
        """The route of a path that holds a write key or a file's name."""
        file = routes.library_file(path)
        if file is not None:
            owner, name = file

            async def script(request: Request, settings: IngestSettings) -> Answer:
                return self._library_file(request, settings, owner, name)

            return Route("/analytics.js", _READ, script)
        of_function = routes.function_key(path)
        if of_function is not None:

            async def webhook(request: Request, settings: IngestSettings) -> Answer:
                await self._webhooks.take(request, settings, unquote(of_function) or None)
                return self._answers.success(request)

            return Route(webhooks.PATH, ("POST",), webhook)
        key = routes.settings_key(path)
        if key is None:
            return None
        found = unquote(key)

        async def serve(request: Request, settings: IngestSettings) -> Answer:
            return self._settings_document(request, settings, found)

        return Route("/v1/projects/settings", _READ, serve)

    async def _allow(self, request: Request, _: IngestSettings) -> Answer:
        return self._answers.plain(request, 200, b"", extra=preflight(request.headers))

    # -- health ------------------------------------------------------------------------------------------

    async def _live(self, request: Request, _: IngestSettings) -> Answer:
        return self._answers.plain(request, 200, health.LIVE)

    async def _readiness(self, request: Request, _: IngestSettings) -> Answer:
        status, body = health.readiness(self._ready)
        return self._answers.plain(request, status, body)

    async def _robots(self, request: Request, _: IngestSettings) -> Answer:
        return self._answers.plain(request, 200, health.ROBOTS, kind=b"text/plain")

    async def _metrics_page(self, request: Request, _: IngestSettings) -> Answer:
        page = self._page
        if page is None or not page.has_token:
            raise _nothing_at(routes.SCRAPE)
        if not page.admits(request.headers.get("authorization", "")):
            message = "a token is needed: Authorization: Bearer TOKEN, as in [metrics] token"
            raise Refused(401, "invalid_token", message, challenge='Bearer realm="cdpd metrics"')
        kind, text = await page.page(request.headers.get("accept", ""))
        return self._answers.plain(request, 200, text, kind=kind.encode(), extra=_NO_STORE)

    # -- what SDKs ask for -------------------------------------------------------------------------------

    async def _swallow(self, request: Request, _: IngestSettings) -> Answer:
        return self._answers.success(request)

    def _settings_document(self, request: Request, settings: IngestSettings, key: str) -> Answer:
        source = settings.sources.get(key)
        if source is None:
            raise Refused(404, "unknown_source", "no source has this write key")
        self._tracking.check_origin(request, source)
        document = settings_document(settings, key)
        extra = CACHE + b"Vary: Origin, Accept-Encoding\r\n"
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            document = compressed(document)
            extra += b"Content-Encoding: gzip\r\n"
        return self._answers.plain(request, 200, document, extra=extra)

    def _library_file(self, request: Request, settings: IngestSettings, key: str | None, name: str) -> Answer:
        """analytics.js. Whose key it is asked for with makes no difference, but a wrong one is told."""
        library = settings.library
        if library is None:
            raise Refused(404, "not_found", "analytics.js is not served here: see [http] analytics_js")
        if key is not None and unquote(key) not in settings.sources:
            raise Refused(404, "unknown_source", "no source has this write key")
        asset = library.find(name, host_known=settings.api_host is not None)
        if asset is None:
            raise Refused(404, "not_found", f"the browser library has no file {name[:200]}")
        found = served(
            asset,
            zipped=accepts_gzip(request.headers.get("accept-encoding", "")),
            if_none_match=request.headers.get("if-none-match", ""),
        )
        return self._answers.plain(
            request, found.status, found.body, kind=KIND, extra=found.extra, origin=FOR_ALL
        )

    async def _source_config(self, request: Request, settings: IngestSettings) -> Answer:
        source: KnownSource | None = by_header(settings, request.headers.get("authorization"))
        if source is None:
            source = by_key(settings, query_key(request.query))
        self._tracking.check_origin(request, source)
        document = source_config(source, self._clock.now_ms())
        return self._answers.plain(request, 200, document, extra=_NO_STORE)

    async def _token(self, request: Request, settings: IngestSettings) -> Answer:
        if self._oauth is None or not settings.has_apps:
            raise Refused(404, "not_found", "no app is configured here: see [oauth.NAME]")
        charge = Charge(self._in_flight)
        try:
            body = await read_body(request, charge, MAX_BODY)
            found = await self._oauth.token(body, request.headers.get("content-type", ""))
        finally:
            charge.release()
        extra = _NO_STORE + b"Pragma: no-cache\r\n"
        if found.retry_after is not None:
            extra += b"Retry-After: %d\r\nX-RateLimit-Reset: %d\r\n" % (found.retry_after, found.retry_after)
        return self._answers.plain(request, found.status, msgspec.json.encode(found.document), extra=extra)

    async def _set(self, request: Request, settings: IngestSettings) -> Answer:
        await self._objects.take(request, settings)
        return self._answers.success(request)

    # -- pixels ------------------------------------------------------------------------------------------

    def _pixel(self, pixel: Pixel) -> Serve:
        async def serve(request: Request, settings: IngestSettings) -> Answer:
            if request.method == "GET":
                try:
                    await self._tracking.take_pixel(request, pixel, settings)
                except Refused as refused:
                    # Nobody would read an error; so it is told here.
                    self._metrics.add(names.REJECTED, refused.code)
                    self._log.info("a pixel's event was not taken", code=refused.code, reason=refused.message)
            return self._answers.plain(request, 200, GIF, kind=b"image/gif", extra=_NO_STORE)

        return serve


def _nothing_at(path: str) -> Refused:
    return Refused(404, "not_found", f"there is nothing at {path[:200]}")


def _not_allowed(method: str, methods: tuple[str, ...]) -> Refused:
    allow = ", ".join((*methods, "OPTIONS"))
    return Refused(405, "method_not_allowed", f"{method} is not possible here, but {allow}", allow=allow)
