"""HTTP routes of hooks in another process: requests and answers go through as they were sent."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from cdpd.roles.routes import proxied, serve_routes

BODY = gzip.compress(b"a body that stays as it was sent")


async def echo(request: web.Request) -> web.StreamResponse:
    """What came, told in headers; the body comes back."""
    headers = {name: value for name, value in request.headers.items() if name.startswith("X-")}
    headers |= {"X-Method": request.method, "X-Target": request.raw_path, "Connection": "X-Hop", "X-Hop": "1"}
    answer = web.StreamResponse(status=201, headers={**headers, "Content-Encoding": "gzip"})
    await answer.prepare(request)
    async for chunk in request.content.iter_any():
        await answer.write(chunk)
    return answer


async def moved(_: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


async def own_error(_: web.Request) -> web.Response:
    return web.json_response({"why": "because"}, status=422)


ROUTES = [
    web.route("*", "/echo", echo),
    web.get("/moved", moved),
    web.get("/own-error", own_error),
    web.post("/only-post", echo),
]


@asynccontextmanager
async def front(path: Path) -> AsyncIterator[str]:
    """What stands for ingest: its address. Errors that it is told of by an exception are marked."""

    @web.middleware
    async def mark(request: web.Request, handler: object) -> web.StreamResponse:
        try:
            return await handler(request)  # type: ignore[operator,no-any-return]
        except web.HTTPException as error:
            return web.Response(
                status=error.status, text=f"as all errors: {error.reason}", headers=error.headers
            )

    app, plugin = web.Application(middlewares=[mark]), web.Application()
    plugin.add_routes(proxied(path, ["hook"])["hook"])
    app.add_subapp("/-/hook/", plugin)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/-/hook"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def both(folder: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    path = folder / "routes.sock"
    async with (
        serve_routes(path, {"hook": ROUTES}),
        front(path) as url,
        aiohttp.ClientSession(auto_decompress=False) as http,
    ):
        assert path.stat().st_mode & 0o777 == 0o600
        yield http, url


async def test_a_request_and_its_answer_are_passed_on_whole(tmp_path: Path) -> None:
    async with both(tmp_path) as (http, url):
        headers = {"X-Own": "1", "Content-Encoding": "gzip", "X-Forwarded-For": "192.0.2.7"}
        async with http.put(URL(f"{url}/echo?a=%2F&b", encoded=True), data=BODY, headers=headers) as answer:
            assert answer.status == 201
            assert await answer.read() == BODY
            told = answer.headers
        assert (told["X-Method"], told["X-Target"]) == ("PUT", "/-/hook/echo?a=%2F&b")
        assert (told["X-Own"], told["X-Forwarded-For"]) == ("1", "192.0.2.7, 127.0.0.1")
        assert "X-Hop" not in told
        async with http.get(f"{url}/echo") as answer:
            assert await answer.read() == b""


async def test_a_redirection_is_the_clients_business(tmp_path: Path) -> None:
    async with both(tmp_path) as (http, url), http.get(f"{url}/moved", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nowhere", 404, "as all errors: Not Found"),
        ("GET", "/only-post", 405, "as all errors: Method Not Allowed"),
        ("GET", "/own-error", 422, '{"why": "because"}'),
    ],
)
async def test_an_error_of_its_own_is_passed_on_and_any_other_is_like_all_errors(
    tmp_path: Path, method: str, path: str, status: int, text: str
) -> None:
    async with both(tmp_path) as (http, url), http.request(method, url + path) as answer:
        assert (answer.status, await answer.text()) == (status, text)
        if status == 405:
            assert answer.headers["Allow"] == "POST"


async def test_while_the_other_process_is_not_there_clients_are_told_to_come_again(tmp_path: Path) -> None:
    async with (
        front(tmp_path / "routes.sock") as url,
        aiohttp.ClientSession() as http,
        http.get(url + "/x") as answer,
    ):
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
