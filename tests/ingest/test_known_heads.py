"""Heads that were met before are read by their bytes; nothing that differs is taken for them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd.ingest.head import KnownHeads, read_head
from tests.ingest.running import KEY, basic, running
from tests.ingest.test_sources import settings


def request(length: int, *more: str, body: bytes | None = None) -> bytes:
    lines = ["POST /v1/track HTTP/1.1", "Host: x", f"Content-Length: {length}", *more, "", ""]
    return "\r\n".join(lines).encode() + (b"x" * length if body is None else body)


def test_a_head_with_another_length_is_the_same_head() -> None:
    heads = KnownHeads()
    first, second = heads.read(request(5)), heads.read(request(17) + b"more")
    assert first is not None
    assert second is not None
    assert first[0] is second[0]
    assert (first[2], second[2]) == (5, 17)
    assert second[1] == len(request(17)) - 17


def test_one_whose_body_has_not_come_whole_is_left_to_the_reader() -> None:
    assert KnownHeads().read(request(9, body=b"x" * 8)) is None


@pytest.mark.parametrize(
    "hidden",
    [
        "X-Note: Content-Length: 3",
        "X-Note: a Content-Length: 3",
        "XContent-Length: 3",
        "content-length: 3",
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
    ],
)
def test_a_length_is_only_what_stands_in_a_line_of_its_own_and_once(hidden: str) -> None:
    """Else a proxy and we could see different requests in the same bytes."""
    heads = KnownHeads()
    for length in (5, 7):
        data = request(length, hidden)
        found, right = heads.read(data), read_head(data)
        assert (found is None) == (right is None)
        if found is not None and right is not None:
            assert (found[1], found[2]) == (right.size, right.length)


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from(["A: b", "content-length: 4", "C: d"])), max_size=6
    )
)
def test_what_is_known_is_read_as_what_is_new(requests: list[tuple[int, str]]) -> None:
    heads = KnownHeads()
    for length, more in requests:
        data = request(length, more)
        found, right = heads.read(data), read_head(data)
        if right is None:
            assert found is None
        else:
            assert found is not None
            assert (found[1], found[2]) == (right.size, right.length)
            assert (found[0].method, found[0].path) == (right.method, right.path)


async def test_what_is_known_of_a_head_does_not_outlive_a_reload_or_hold_for_another_peer() -> None:
    async with running() as server:
        body = json.dumps({"event": "A", "userId": "u"}).encode()
        for key in (KEY, "second", KEY):
            assert (await server.post("/v1/track", body, key=key))[0] == 200
        server.ingest.apply(settings(enabled=False))
        assert (await server.post("/v1/track", body))[0] == 200
        assert len(server.lines) == 3
        server.ingest.apply(settings({"disabled_source": 401}, enabled=False))
        async with server.http.post(server.bound.url + "/v1/track", data=body, headers=basic()) as answer:
            assert answer.status == 401
