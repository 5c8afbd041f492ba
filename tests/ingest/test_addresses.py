"""The client's address behind trusted proxies."""

from __future__ import annotations

import pytest

from tests.ingest.running import running


@pytest.mark.parametrize(
    ("forwarded", "ip"),
    [
        (None, "127.0.0.1"),
        ("203.0.113.7", "203.0.113.7"),
        ("9.9.9.9, 203.0.113.7", "203.0.113.7"),
        ("9.9.9.9, 203.0.113.7, 10.0.0.5, 10.1.1.1", "203.0.113.7"),
        ("10.0.0.5", "10.0.0.5"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("nonsense", "127.0.0.1"),
        ("203.0.113.7, unknown, 10.0.0.5", "10.0.0.5"),
        ("", "127.0.0.1"),
    ],
)
async def test_the_right_most_hop_that_is_not_trusted_counts(forwarded: str | None, ip: str) -> None:
    async with running(trusted_proxies=["127.0.0.1", "10.0.0.0/8"]) as server:
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        await server.post("/v1/track", {}, headers=headers)
        assert server.lines[0]["via"]["ip"] == ip


async def test_nobody_is_believed_by_default() -> None:
    async with running() as server:
        await server.post("/v1/track", {}, headers={"X-Forwarded-For": "203.0.113.7"})
        assert server.lines[0]["via"]["ip"] == "127.0.0.1"


async def test_several_headers_are_one_list() -> None:
    async with running(trusted_proxies=["127.0.0.1"]) as server:
        answer = await server.raw(
            b"POST /v1/track HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"
            b"Authorization: Basic V1JJVEVLRVk6\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert server.lines[0]["via"]["ip"] == "2.2.2.2"
