"""Bodies as clients send them: compressed, chunked, with any content type."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib

import anyio
import pytest

from tests.ingest.running import KEY, basic, running

OK = (200, {"success": True})
EVENT = {"messageId": "m", "properties": {"text": "é" * 500}}
BODY = json.dumps(EVENT).encode()


def _bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(BODY)),
        ("GZip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:100]) + gzip.compress(BODY[100:])),
        ("gzip", gzip.compress(BODY) + b"\0" * 64),
        ("deflate", zlib.compress(BODY)),
        ("deflate", _bare_deflate(BODY)),
        ("identity", BODY),
        ("", BODY),
    ],
)
async def test_known_encodings_are_inflated(encoding: str, data: bytes) -> None:
    async with running(max_batch_bytes=10_000) as server:
        assert await server.post("/v1/track", data, headers={"Content-Encoding": encoding}) == OK
        assert server.events == [EVENT]


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "nonsense"])
async def test_an_unknown_encoding_is_415(encoding: str) -> None:
    async with running() as server:
        status, error = await server.post("/v1/track", BODY, headers={"Content-Encoding": encoding})
        assert (status, error["code"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(BODY)[:-9]),
        ("gzip", gzip.compress(BODY)[:12]),
        ("gzip", b""),
        ("gzip", BODY),
        ("gzip", gzip.compress(BODY)[:-8] + b"\0" * 8),
        ("gzip", gzip.compress(BODY) + b"garbage"),
        ("deflate", zlib.compress(BODY)[:-5]),
        ("deflate", zlib.compress(BODY) + b"garbage"),
        ("deflate", b"\xff" * 40),
    ],
)
async def test_broken_compression_is_a_400(encoding: str, data: bytes) -> None:
    async with running() as server:
        status, error = await server.post("/v1/track", data, headers={"Content-Encoding": encoding})
        assert (status, error["code"]) == (400, "invalid_json")
        assert "compression" in error["message"] or "compressed" in error["message"]
        assert server.lines == []
        assert server.ingest.in_flight_bytes == 0


async def test_a_bomb_is_refused_once_it_is_over_the_limit() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    assert len(bomb) < 60_000
    async with running(max_batch_bytes=100_000) as server:
        status, error = await server.post("/v1/batch", bomb, headers={"Content-Encoding": "gzip"})
        assert (status, error["code"]) == (400, "too_large")
        assert server.ingest.in_flight_bytes == 0


async def test_empty_members_cannot_go_on_for_ever() -> None:
    async with running(max_batch_bytes=100_000) as server:
        status, error = await server.post(
            "/v1/batch", gzip.compress(b"") * 6000, headers={"Content-Encoding": "gzip"}
        )
        assert (status, error["code"]) == (400, "too_large")


async def test_limits_count_the_decompressed_size() -> None:
    async with running(max_batch_bytes=2000) as server:
        data = gzip.compress(json.dumps({"batch": [{"t": "x" * 1990}]}).encode())
        status, error = await server.post("/v1/batch", data, headers={"Content-Encoding": "gzip"})
        assert (status, error["code"]) == (400, "too_large")


async def test_chunked_bodies_are_taken_and_bounded() -> None:
    async with running(max_batch_bytes=50_000) as server:

        async def small() -> object:
            for byte in BODY:
                yield bytes([byte])

        async def endless() -> object:
            for _ in range(10_000):
                yield b" " * 10_000

        url = f"{server.bound.url}/v1/track"
        async with server.http.post(url, data=small(), headers=basic()) as answer:
            assert answer.status == 200
        assert server.events == [EVENT]
        data = b"".join(b"2710\r\n" + b" " * 10_000 + b"\r\n" for _ in range(6))
        head = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: Basic "
        answer = await server.raw(head + b"V1JJVEVLRVk6\r\nConnection: close\r\n\r\n" + data + b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"too_large" in answer


async def test_a_transfer_coding_that_we_do_not_know_is_415_and_not_taken_for_the_body() -> None:
    async with running() as server:
        packed = gzip.compress(BODY)
        head = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n"
        head += b"Authorization: Basic V1JJVEVLRVk6\r\n\r\n"
        answer = await server.raw(head + b"%x\r\n" % len(packed) + packed + b"\r\n0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 415 ")
        assert b"unsupported_encoding" in answer
        assert server.events == []


@pytest.mark.parametrize("at_once", [True, False])
async def test_broken_chunks_are_the_senders_mistake(at_once: bool) -> None:
    async with running() as server:
        head = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        head += b"Authorization: Basic V1JJVEVLRVk6\r\n\r\n2\r\n{}\r\n"
        reader, writer = await asyncio.open_connection(server.bound.host, server.bound.port)
        writer.write(head)
        while not at_once and not server.ingest.in_flight_bytes:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)
        writer.write(b"nonsense\r\n")
        with anyio.fail_after(20):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "bad_request"
        writer.close()
        assert server.lines == []
        assert server.ingest.in_flight_bytes == 0


async def test_a_large_body_comes_in_many_pieces() -> None:
    async with running() as server:
        events = [{"messageId": f"m{n}", "properties": {"t": "x" * 1000}} for n in range(2400)]
        assert await server.batch(list(events)) == OK
        assert server.events == events
        assert server.ingest.in_flight_bytes == 0


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json;charset=UTF-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "x/y",
    ],
)
async def test_the_content_type_does_not_matter(kind: str) -> None:
    async with running() as server:
        assert await server.post("/v1/track", EVENT, headers={"Content-Type": kind}) == OK
        raw = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n"
        answer = await server.raw(raw + b"Authorization: Basic V1JJVEVLRVk6\r\n\r\n{}")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_byte_order_mark_is_dropped() -> None:
    async with running() as server:
        assert await server.post("/v1/track", b"\xef\xbb\xbf" + BODY) == OK
        packed = gzip.compress(b"\xef\xbb\xbf" + BODY)
        assert await server.post("/v1/track", packed, headers={"Content-Encoding": "gzip"}) == OK
        assert server.events == [EVENT, EVENT]


async def test_expect_continue_is_answered_before_the_body_comes() -> None:
    async with running() as server:
        reader, writer = await asyncio.open_connection(server.bound.host, server.bound.port)
        writer.write(
            b"POST /v1/track HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
            b"Authorization: Basic V1JJVEVLRVk6\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await reader.readuntil(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        assert server.events == [{}]


async def test_http_1_0_is_spoken() -> None:
    async with running() as server:
        post = f"POST /v1/track?writeKey={KEY} HTTP/1.0\r\nContent-Length: 2\r\n".encode()
        answer = await server.raw(post + b"\r\n{}")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection: close" in answer
        answer = await server.raw(
            post + b"Connection: keep-alive\r\n\r\n{}" + post + b"Connection: close\r\n\r\n{}"
        )
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
        assert b"Connection: keep-alive" in answer
