"""HTTP routes of hooks that run in another process than ingest: served there on a Unix socket, passed on to it here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from cdpd.control.private_socket import private_socket
from cdpd.control.socket_path import fitting
from cdpd.ingest.ingest import plugin_prefix

_HOPS: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Of one connection, not of what goes over it (RFC 9110, 7.6.1)."""
_CONNECT: Final = 5.0
_CHUNK: Final = 65536


def routes_socket(data_dir: Path) -> Path:
    """Where they are served."""
    return data_dir / "routes.sock"


@asynccontextmanager
async def serve_routes(
    path: Path, routes: Mapping[str, Sequence[web.AbstractRouteDef]]
) -> AsyncIterator[None]:
    """Serve the hooks' routes on the socket `path` inside the `with`, below the same paths as ingest has them."""
    app = web.Application()
    for name, its in routes.items():
        plugin = web.Application()
        plugin.add_routes(its)
        app.add_subapp(plugin_prefix(name), plugin)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, auto_decompress=False)
    await runner.setup()
    try:
        with private_socket(path) as listener:
            await web.SockSite(runner, listener).start()
            yield
    finally:
        await runner.cleanup()


def proxied(path: Path, names: Iterable[str]) -> dict[str, list[web.AbstractRouteDef]]:
    """For IngestPart.mount: every request below the paths of these hooks goes to the socket `path`."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        try:
            with fitting(path) as name:
                return await _passed(request, name)
        except (aiohttp.ClientConnectionError, FileNotFoundError):
            return web.Response(
                status=503,
                text="the process that answers this does not run at the moment\n",
                headers={"Retry-After": "5"},
            )

    return {name: [web.route("*", "/{path:.*}", pass_on)] for name in names}


async def _passed(request: web.Request, name: str) -> web.StreamResponse:
    headers = _without_hops(request.headers)
    came = ", ".join([*request.headers.getall("X-Forwarded-For", []), request.remote or "unknown"])
    headers["X-Forwarded-For"] = came
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(name), auto_decompress=False, timeout=timeout
        ) as session,
        session.request(
            request.method,
            f"http://{request.headers.get('Host') or 'cdpd'}{request.rel_url}",
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as answer,
    ):
        passed = web.StreamResponse(
            status=answer.status, reason=answer.reason, headers=_without_hops(answer.headers)
        )
        await passed.prepare(request)
        async for chunk in answer.content.iter_chunked(_CHUNK):
            await passed.write(chunk)
        await passed.write_eof()
        return passed


def _without_hops(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    named = {name.strip().lower() for value in headers.getall("Connection", []) for name in value.split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOPS | named)
