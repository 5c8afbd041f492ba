"""Answers that are no 200, requests that are no requests, and what browsers need of both."""

from __future__ import annotations

import gzip
import json
import logging

import pytest
from aiohttp import web

from tests.ingest.running import KEY, basic, running

ORIGIN = "https://shop.example"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/t", b"{}", 200),
        ("POST", "/v1/t", b"{", 400),
        ("POST", "/v1/nothing", b"{}", 404),
        ("PUT", "/v1/t", b"{}", 405),
        ("GET", f"/v1/projects/{KEY}/settings", b"", 200),
        ("GET", "/v1/projects/nobody/settings", b"", 404),
        ("POST", "/v1/m", b"{}", 200),
        ("GET", "/health", b"", 200),
        ("OPTIONS", "/any/path", b"", 200),
    ],
)
async def test_every_answer_carries_the_cors_headers(
    method: str, path: str, body: bytes, status: int
) -> None:
    async with running() as server:
        headers = {"Origin": ORIGIN, **basic()}
        async with server.http.request(method, server.bound.url + path, data=body, headers=headers) as answer:
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
            assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After, X-RateLimit-Reset"
            assert "Origin" in answer.headers.getall("Vary")
        async with server.http.request(method, server.bound.url + path, data=body, headers=basic()) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_preflight_lists_or_echoes_the_headers() -> None:
    async with running() as server:
        url = f"{server.bound.url}/v1/track"
        asked = "anonymousid,authorization,content-type,sentat,rsa-retry-attempt"
        headers = {"Origin": ORIGIN, "Access-Control-Request-Headers": asked}
        async with server.http.options(url, headers=headers) as answer:
            assert answer.headers["Access-Control-Allow-Headers"] == asked
            assert answer.headers["Access-Control-Max-Age"] == "7200"
            assert "Access-Control-Allow-Private-Network" not in answer.headers
            assert await answer.read() == b""
        headers = {"Origin": ORIGIN, "Access-Control-Request-Private-Network": "true"}
        async with server.http.options(url, headers=headers) as answer:
            assert "x-retry-count" in answer.headers["Access-Control-Allow-Headers"]
            assert answer.headers["Access-Control-Allow-Private-Network"] == "true"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"G@T / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/track HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/track HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/track HTTP/1.1\r\nBad Header: 2\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/track HTTP/1.1\nHost: x\n\n",
    ],
)
async def test_what_is_no_request_is_answered_in_json_with_cors(request_bytes: bytes) -> None:
    async with running() as server:
        answer = await server.raw(request_bytes)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"Access-Control-Allow-Origin: *" in head
        assert b"Connection: close" in head
        error = json.loads(body)
        assert error["success"] is False
        assert error["code"] == "bad_request"
        assert "Traceback" not in error["message"]


@pytest.mark.parametrize(
    "path", [b"/\xff", b"/%ff", b"/a%00b", b"//", b"/v1//track", b"/v1/track/x?", b"/v1/projects//settings"]
)
async def test_odd_paths_are_not_found(path: bytes) -> None:
    async with running() as server:
        answer = await server.raw(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 40")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] in ("not_found", "bad_request")


async def test_settings_are_compressed_cached_and_say_no_host_that_was_not_configured() -> None:
    async with running() as server:
        url = f"{server.bound.url}/v1/projects/{KEY}/settings"
        async with server.http.get(url, headers={"Accept-Encoding": "gzip, deflate, br"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Cache-Control"] == "public, max-age=120"
            assert answer.headers["Vary"] == "Origin, Accept-Encoding"  # or caches starve browsers of CORS
            document = await answer.json()
        segment = document["integrations"]["Segment.io"]
        assert "apiHost" not in segment
        assert "protocol" not in segment
        assert segment["httpConfig"].keys() == {"rateLimitConfig", "backoffConfig"}
        assert document["metrics"] == {"sampleRate": 0}
        for name in ("plan", "edgeFunction", "middlewareSettings", "consentSettings", "metrics"):
            assert isinstance(document[name], dict)
        async with server.http.get(url + "/", headers={"Accept-Encoding": "gzip;q=0"}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert await answer.json() == document
        async with server.http.head(url) as answer:
            assert answer.status == 200
            assert await answer.read() == b""


async def test_the_public_url_may_have_a_path() -> None:
    async with running(public_url="http://cdp.example.com:8080/in/") as server:
        raw = await server.raw(
            b"GET /v1/projects/WRITE%4bEY/settings HTTP/1.1\r\nHost: evil.example\r\n"
            b"Accept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        )
        document = json.loads(gzip.decompress(raw.partition(b"\r\n\r\n")[2]))
        segment = document["integrations"]["Segment.io"]
        assert (segment["apiHost"], segment["protocol"]) == ("cdp.example.com:8080/in/v1", "http")


async def test_health_says_whether_it_is_ready_and_why_not() -> None:
    async with running(ready="starting") as server:
        async with server.http.get(f"{server.bound.url}/health/live") as answer:
            assert answer.status == 200
        async with server.http.get(f"{server.bound.url}/health/ready") as answer:
            assert answer.status == 503
            assert (await answer.json())["reason"] == "starting"
    async with running() as server:
        async with server.http.get(f"{server.bound.url}/health/ready") as answer:
            assert answer.status == 200
        async with server.http.get(f"{server.bound.url}/robots.txt") as answer:
            assert await answer.text() == "User-agent: *\nDisallow: /\n"


async def test_a_plugins_routes_are_served_beside_ours(caplog: pytest.LogCaptureFixture) -> None:
    from cdpd.config.address import Listen
    from cdpd.ingest.server import serve
    from tests.ingest.running import make_ingest

    async def hello(request: web.Request) -> web.Response:
        return web.json_response({"name": request.match_info["name"], "body": await request.text()})

    async def fails(request: web.Request) -> web.Response:
        raise RuntimeError("the plugin's own mistake")

    ingest, log, _ = make_ingest()
    ingest.mount("greeter", [web.post("/hello/{name}", hello), web.get("/fails", fails)])
    import aiohttp

    async with serve(ingest, [Listen("127.0.0.1", 0)]) as bound, aiohttp.ClientSession() as http:
        url = bound[0].url
        for _ in range(2):
            async with http.post(f"{url}/-/greeter/hello/you", data=b"text") as answer:
                assert await answer.json() == {"name": "you", "body": "text"}
            async with http.post(f"{url}/v1/track", json={"userId": "u"}, headers=basic()) as answer:
                assert answer.status == 200
        for method, path, status in (
            ("GET", "/-/greeter/nothing", 404),
            ("GET", "/-/nobody/hello", 404),
            ("GET", "/-/greeter/hello/you", 405),
            ("GET", "/-/greeter/fails", 500),
        ):
            async with http.request(method, url + path) as answer:
                assert answer.status == status
                assert (await answer.json())["success"] is False
        assert len(log.lines) == 2
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
