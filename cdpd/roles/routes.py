"""HTTP routes of hooks that run in another process than ingest: served there on a Unix socket, passed on to it here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

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
_FORWARDED: Final = "x-forwarded-for"
_CONNECT: Final = 5.0
"""Seconds."""
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
    with private_socket(path) as listener:
        runner = web.AppRunner(app, access_log=None, handle_signals=False, auto_decompress=False)
        try:
            await runner.setup()
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
    came = ", ".join([*request.headers.getall(_FORWARDED, []), request.remote or "unknown"])
    headers = [(name, value) for name, value in _without_hops(request.headers) if name.lower() != _FORWARDED]
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(name), auto_decompress=False, timeout=timeout
        ) as session,
        session.request(
            request.method,
            request.url.with_scheme("http"),
            headers=[*headers, (_FORWARDED, came)],
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as answer,
    ):
        if answer.status >= 400 and (content := await answer.content.read(_CHUNK)):
            _raise_as_raised(answer, content)
        else:
            content = b""
        passed = web.StreamResponse(
            status=answer.status, reason=answer.reason, headers=_without_hops(answer.headers)
        )
        await passed.prepare(request)
        await passed.write(content)
        async for chunk in answer.content.iter_chunked(_CHUNK):
            await passed.write(chunk)
        await passed.write_eof()
        return passed


def _raise_as_raised(answer: aiohttp.ClientResponse, content: bytes) -> None:
    """An error that says nothing of its own is raised again: here it gets the form that all errors have."""
    if content == f"{answer.status}: {answer.reason}".encode():
        kind = type("Passed", (web.HTTPException,), {"status_code": answer.status})
        allow = answer.headers.get("Allow")
        raise kind(reason=answer.reason, headers={"Allow": allow} if allow else None)


def _without_hops(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    named = {
        part.strip().lower()
        for name, value in headers.items()
        if name.lower() == "connection"
        for part in value.split(",")
    }
    return [(name, value) for name, value in headers.items() if name.lower() not in _HOPS | named]
