"""/metrics at the tracking API: for whoever has the token, and only where there is one."""

from __future__ import annotations

import aiohttp
from aiohttp import web

from cdpd import metrics as names
from cdpd.config.address import Listen
from cdpd.ingest.endpoints import Endpoints
from cdpd.ingest.server import serve

from .running import Running, make_ingest, running


class Page:
    """A metrics page; its token is `t`."""

    has_token = True

    def admits(self, authorization: str) -> bool:
        return authorization == "Bearer t"

    async def page(self, accept: str) -> tuple[str, bytes]:
        return "text/plain; version=0.0.4", f"for {accept}\n".encode()


def show(server: Running, page: Page) -> None:
    endpoints: Endpoints = server.ingest._endpoints
    endpoints._page = page


async def test_the_page_is_for_who_has_the_token() -> None:
    async with running() as server:
        show(server, Page())
        url = f"{server.bound.url}/metrics"
        headers = {"Authorization": "Bearer t", "Accept": "text/plain"}
        async with server.http.get(url, headers=headers) as answer:
            assert (answer.status, await answer.text()) == (200, "for text/plain\n")
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
            assert answer.headers["Cache-Control"] == "no-store"
        async with server.http.get(url, headers={"Authorization": "Bearer x"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, "invalid_token")
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="cdpd metrics"'
        async with server.http.post(url, headers=headers) as answer:
            assert answer.status == 405
        assert server.metrics.get(names.REQUESTS, "/metrics", "200") == 1
        assert server.metrics.get(names.REQUESTS, "/metrics", "401") == 1


async def test_without_a_token_nothing_is_there() -> None:
    async with running() as server:
        for page in (None, Page()):
            if page is not None:
                page.has_token = False
                show(server, page)
            async with server.http.get(
                f"{server.bound.url}/metrics", headers={"Authorization": "Bearer t"}
            ) as answer:
                assert (answer.status, (await answer.json())["code"]) == (404, "not_found")


async def test_requests_are_counted_and_timed_by_their_route_and_never_by_what_stands_in_the_path() -> None:
    async with running() as server:
        await server.post("/v1/t", {"event": "A", "userId": "u"})
        await server.post("/v1/t/", {"event": "A", "userId": "u"})
        for path in ("/v1/projects/secretkey/settings", "/v1/projects/WRITEKEY/settings", "/sourceConfig"):
            await (await server.http.get(server.bound.url + path)).read()
        await (await server.http.options(f"{server.bound.url}/v1/t")).read()
        counted = server.metrics.snapshot()["cdpd_requests_total"]
    assert counted == {
        "/v1/t,200": 2,
        "/v1/projects/settings,404": 1,
        "/v1/projects/settings,200": 1,
        "/sourceConfig,401": 1,
        "preflight,200": 1,
    }
    timed = {
        one.labels: sum(one.counts) for one in server.metrics.series() if one.family is names.REQUEST_SECONDS
    }
    assert timed == {("/v1/t",): 2, ("/v1/projects/settings",): 2, ("/sourceConfig",): 1, ("preflight",): 1}


async def test_requests_of_plugins_are_counted_by_the_plugin() -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    ingest, _, metrics = make_ingest()
    ingest.mount("webinar", [web.get("/greet/{who}", hello)])
    async with serve(ingest, [Listen("127.0.0.1", 0)]) as bound, aiohttp.ClientSession() as http:
        for path, status in (("webinar/greet/ann", 200), ("webinar/none", 404), ("stranger77/x", 404)):
            async with http.get(f"{bound[0].url}/-/{path}") as answer:
                assert answer.status == status
    assert metrics.snapshot()["cdpd_requests_total"] == {
        "/-/webinar,200": 1,
        "/-/webinar,404": 1,
        "other,404": 1,
    }
