"""The express lane takes only what cannot be read in two ways; aiohttp judges all else."""

from __future__ import annotations

import pytest

from cdpd.ingest.head import LONGEST, read_head, unfinished

PLAIN = b"POST /v1/track?writeKey=k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Retry-Count:  3 \r\n\r\n"


def test_an_ordinary_head_is_read() -> None:
    head = read_head(PLAIN + b"{}")
    assert head is not None
    assert (head.method, head.path, head.query) == ("POST", "/v1/track", "writeKey=k")
    assert head.headers == {"host": "x", "content-length": "2", "x-retry-count": "3"}
    assert (head.length, head.size, head.keep_alive) == (2, len(PLAIN), True)


def test_connection_close_is_heard() -> None:
    head = read_head(PLAIN.replace(b"Host: x", b"Connection: Close"))
    assert head is not None
    assert not head.keep_alive


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"Content-Length: 2",
        b"content-length: 3",
        b"X-Retry-Count: 4",
        b"Expect: 100-continue",
        b"Upgrade: websocket",
        b"Bad Name: x",
        b"NoColon",
        b" folded: x",
        b": x",
        b"X: a\x00b",
        b"X: a\x7fb",
        b"X: a\rb",
        b"X: a\nContent-Length: 9",
        b"X\xff: a",
        b"Name : x",
    ],
)
def test_anything_unusual_is_left_to_aiohttp(line: bytes) -> None:
    assert read_head(PLAIN.replace(b"Host: x", line)) is None


@pytest.mark.parametrize(
    "first",
    [
        b"POST /a b HTTP/1.1",
        b"POST http://x/ HTTP/1.1",
        b"POST /a HTTP/1.0",
        b"POST /a HTTP/2.0",
        b"PUT /a HTTP/1.1",
        b"post /a HTTP/1.1",
        b"POST  /a HTTP/1.1",
        b"POST /\xc3\xa9 HTTP/1.1",
        b"POST /a\tHTTP/1.1",
        b"OPTIONS * HTTP/1.1",
    ],
)
def test_any_other_request_line_is_left_to_aiohttp(first: bytes) -> None:
    assert read_head(first + b"\r\nHost: x\r\n\r\n") is None


@pytest.mark.parametrize("length", [b"+2", b"2,2", b"0x2", b" ", b"", b"\xb2", b"1e3", b"9" * 30])
def test_a_length_that_is_no_plain_number_is_left_to_aiohttp(length: bytes) -> None:
    assert read_head(b"POST / HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n") is None


@pytest.mark.parametrize("cut", range(1, len(PLAIN)))
def test_a_part_of_a_head_may_become_one(cut: int) -> None:
    assert read_head(PLAIN[:cut]) is None
    # After a carriage return the line feed is still to come: that is judged with the next bytes.
    assert unfinished(PLAIN[:cut])


@pytest.mark.parametrize(
    "data", [b"PUT", b"\x16\x03", b"P0ST", b"GET x", b"POST / HTTP/1.1\nHost: x\n", b"GET /" + b"a" * LONGEST]
)
def test_what_cannot_become_an_ordinary_head_is_handed_over_at_once(data: bytes) -> None:
    assert not unfinished(data)
