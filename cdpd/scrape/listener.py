"""`[metrics] listen`: an HTTP server of its own, for /metrics alone, so that no client of SDKs reaches it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from cdpd.config.address import Listen, parse_listen
from cdpd.ingest.metrics_page import MetricsPage
from cdpd.ingest.sockets import AddressInUse, ListenError, Listening, bind_all

PATH: Final = "/metrics"
_UNIX_MODE: Final = 0o660


@asynccontextmanager
async def serve_metrics(scrape: MetricsPage, listen: str | None) -> AsyncIterator[Listen | None]:
    """Serve inside the `with`; the address as it is bound, or None where `listen` says nothing.

    Raises ListenError.
    """
    if listen is None:
        yield None
        return
    bound = _bind(parse_listen(listen))
    try:
        runner = web.AppRunner(metrics_app(scrape), access_log=None, handle_signals=False)
        try:
            await runner.setup()
            for sock in bound.sockets:
                await web.SockSite(runner, sock).start()
            yield bound.listen
        finally:
            await runner.cleanup()
    finally:
        bound.close()


def check_metrics_free(listen: str | None) -> None:
    """Could it be served there now? Raises ListenError, and leaves nothing behind."""
    if listen is not None:
        _bind(parse_listen(listen)).close()


def _bind(address: Listen) -> Listening:
    try:
        (bound,) = bind_all([address], _UNIX_MODE)
    except AddressInUse as error:
        text = "the address is in use, by another cdpd or another program; choose one in [metrics] listen"
        raise ListenError(error.listen, text) from None
    return bound


def metrics_app(scrape: MetricsPage) -> web.Application:
    """GET and HEAD of /metrics; anything else is a 404 that says so."""

    async def page(request: web.Request) -> web.Response:
        if not scrape.admits(request.headers.get("Authorization", "")):
            return web.Response(
                status=401,
                text="a token is needed: Authorization: Bearer TOKEN, as in [metrics] token\n",
                headers={"WWW-Authenticate": 'Bearer realm="cdpd metrics"'},
            )
        kind, text = await scrape.page(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    async def nothing(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
        return web.Response(status=404, text=f"there is only {PATH} here\n")

    app = web.Application()
    app.router.add_get(PATH, page)
    app.router.add_route("*", "/{path:.*}", nothing)
    return app
