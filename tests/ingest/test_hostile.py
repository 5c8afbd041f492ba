"""Hostile input: each body is answered, costs its neighbours nothing, and is safe in the log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdpd import metrics as names
from tests.ingest.running import running

OK = (200, {"success": True})
GOOD = b'{"messageId":"good","properties":{"n":1.10}}'


def batch(*events: bytes) -> bytes:
    return b'{"batch":[' + b",".join(events) + b"]}"


def nested(levels: int, inside: bytes = b"1") -> bytes:
    """An event of so many levels."""
    arrays = levels - 1
    return b'{"messageId":"deep","a":' + b"[" * arrays + inside + b"]" * arrays + b"}"


@pytest.mark.parametrize(
    ("bad", "mended", "code", "times"),
    [
        (b'{"n":NaN}', {"n": None}, "nan_replaced", 1),
        (
            b'{"n":[NaN,-Infinity,Infinity],"t":"NaN"}',
            {"n": [None, None, None], "t": "NaN"},
            "nan_replaced",
            3,
        ),
        (b'{"t":"a\\ud800b"}', {"t": "a\ufffdb"}, "surrogate_replaced", 1),
        (b'{"t":"\\udc00\\ud83d"}', {"t": "\ufffd\ufffd"}, "surrogate_replaced", 2),
        (b'{"t":"\\ud83d\\ude00\\ude00"}', {"t": "\U0001f600\ufffd"}, "surrogate_replaced", 1),
        (b'{"t":"\\\\ud800 \\\\\\udc00"}', {"t": "\\ud800 \\\ufffd"}, "surrogate_replaced", 1),
        (b'{"\\udfff":1}', {"\ufffd": 1}, "surrogate_replaced", 1),
        (b'{"t":"a\\u0000b"}', {"t": "a\ufffdb"}, "nul_replaced", 1),
        (b'{"t":"a\x00b"}', {"t": "a\ufffdb"}, "nul_replaced", 1),
    ],
)
@pytest.mark.parametrize("size", [0, 100_000], ids=["small", "in a thread"])
async def test_what_json_forbids_but_clients_send_is_put_right_and_counted(
    bad: bytes, mended: dict[str, Any], code: str, times: int, size: int
) -> None:
    async with running() as server:
        filler = b'{"messageId":"filler","t":"' + b"x" * 30_000 + b'"}'
        assert await server.post("/v1/batch", batch(GOOD, bad, *[filler] * (size // 30_000))) == OK
        assert server.log.raw[0].endswith(b'"event":' + GOOD + b"}")
        assert server.events[1] == mended
        assert server.metrics.get(names.NOTED, code) == times
        if not size:
            assert await server.post("/v1/track", bad) == OK
            assert server.events[2] == mended


async def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    async with running() as server:
        event = b'{"t":"\\\\u0000"}'
        assert await server.post("/v1/track", event) == OK
        assert server.log.raw[0].endswith(b'"event":' + event + b"}")
        assert server.metrics.get(names.NOTED, "nul_replaced") == 0


@pytest.mark.parametrize("levels", [65, 300, 600, 980, 1000, 1500, 10_000, 100_000])
async def test_an_event_nested_too_deep_costs_only_itself(levels: int) -> None:
    async with running() as server:
        assert await server.post("/v1/batch", batch(GOOD, nested(levels), GOOD)) == OK
        assert [line.get("reject") for line in server.lines] == [None, "too_deep", None]
        assert server.log.raw[0].endswith(b'"event":' + GOOD + b"}")
        assert "event" not in server.lines[1]
        assert server.lines[1]["raw"] == nested(levels)[:1024].decode()


async def test_an_event_at_the_limit_of_nesting_is_taken() -> None:
    async with running() as server:
        assert await server.post("/v1/track", nested(64)) == OK
        assert await server.post("/v1/track", nested(65)) == OK
        brackets = b'{"t":"' + b"[" * 200 + b'"}'
        assert await server.post("/v1/track", brackets) == OK
        assert [line.get("reject") for line in server.lines] == [None, "too_deep", None]


@pytest.mark.parametrize("levels", [65, 980, 10_000])
async def test_a_single_event_nested_too_deep_is_rejected_in_the_log(levels: int) -> None:
    async with running() as server:
        deep = nested(levels)[:-1] + b',"writeKey":"WRITEKEY"}'
        assert await server.post("/v1/track", deep, key=None) == OK
        assert [line["reject"] for line in server.lines] == ["too_deep"]


@pytest.mark.parametrize("levels", [64, 980, 10_000])
async def test_shared_context_nested_too_deep_rejects_its_events(levels: int) -> None:
    async with running() as server:
        body = b'{"batch":[' + GOOD + b'],"context":' + nested(levels) + b"}"
        assert await server.post("/v1/batch", body) == OK
        assert [line["reject"] for line in server.lines] == ["too_deep"]


@pytest.mark.parametrize(
    "body",
    [
        batch(GOOD, nested(2000)[:-5]),
        batch(GOOD, nested(2000)) + b"x",
        batch(GOOD, nested(2000), b'{"a":tru}'),
        batch(GOOD, nested(2000), b'{"a":1,}'),
        batch(nested(2000))[:-1] + b',"context":{"a":}}',
        batch(nested(2000))[:-1] + b",x:1}",
        batch(nested(2000))[:-1] + b',"x" 1}',
        batch(nested(2000))[:-1] + b',"\\x":1}',
        batch(nested(2000))[:-1] + b',"x":}',
        batch(nested(2000)) + batch(GOOD),
        batch(GOOD, b"NaN1"),
        batch(GOOD, b"nan"),
        batch(GOOD, b'"a\nb"'),
        batch(GOOD, b'"\\ud8zz"'),
        batch(GOOD, b'"\\u00'),
        batch(GOOD, b'{"a":"\\q"}'),
        b"[" * 100_000,
        b'{"batch":[' * 50_000,
        b"\xef\xbb\xbf",
    ],
)
async def test_malformed_json_is_refused_whole_and_nothing_is_half_accepted(body: bytes) -> None:
    async with running() as server:
        status, error = await server.post("/v1/batch", body)
        assert status == 400
        assert error["code"] in ("invalid_json", "invalid_batch")
        assert server.lines == []
        assert server.ingest.in_flight_bytes == 0


@pytest.mark.parametrize(
    "bad",
    [
        b'{"t":"\xff"}',
        b'{"t":"\xc3"}',
        b'{"t":"\xed\xa0\x80"}',
        b'{"t":"\xf8\x88\x80\x80\x80"}',
        b'{"t":"\xc0\x80"}',
        "{}".encode("utf-16"),
    ],
)
async def test_what_is_no_utf_8_is_refused_whole(bad: bytes) -> None:
    async with running() as server:
        status, error = await server.post("/v1/batch", batch(GOOD, bad))
        assert (status, error["code"]) == (400, "invalid_encoding")
        status, error = await server.post("/v1/track", bad)
        assert (status, error["code"]) == (400, "invalid_encoding")
        assert server.lines == []


async def test_numbers_of_any_length_keep_their_text() -> None:
    number = b"-" + b"123" * 150 + b".5e-400"
    async with running() as server:
        event = b'{"properties":{"n":' + number + b"}}"
        assert await server.post("/v1/batch", batch(event, b'{"x":NaN}')) == OK
        assert server.log.raw[0].endswith(b'"event":' + event + b"}")


async def test_a_body_of_millions_of_values_is_answered() -> None:
    async with running() as server:
        many = b"[" + b"0," * 900_000 + b"0]"
        status, _ = await server.post("/v1/batch", batch(b'{"messageId":"m","a":' + many + b"}", GOOD))
        assert status == 200
        assert [line.get("reject") for line in server.lines] == ["event_too_large", None]
        status, error = await server.post("/v1/batch", b"[1," * 1_300_000)
        assert (status, error["code"]) == (400, "invalid_json")
        assert server.ingest.in_flight_bytes == 0


async def test_header_bytes_that_are_no_text_are_made_text() -> None:
    async with running() as server:
        answer = await server.raw(
            b"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Basic V1JJVEVLRVk6\r\nUser-Agent: a\xffb\r\n"
            b"Origin: http://\xfe\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert server.lines[0]["via"]["userAgent"] == "a\ufffdb"


def test_mending_is_what_a_lenient_reader_would_read() -> None:
    from hypothesis import given, settings
    from hypothesis import strategies as st

    from cdpd.ingest.mend import mend

    values = st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.integers()
        | st.text(st.characters(exclude_categories=())),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner),
        max_leaves=10,
    )

    def expected(value: Any) -> Any:
        if isinstance(value, float):
            return value if value - value == 0 else None
        if isinstance(value, str):
            paired = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in paired)
        if isinstance(value, list):
            return [expected(v) for v in value]
        if isinstance(value, dict):
            return {expected(k): expected(v) for k, v in value.items()}
        return value

    @given(values)
    @settings(max_examples=300, deadline=None)
    def check(value: Any) -> None:
        text = json.dumps(value)  # escapes every surrogate, writes NaN and Infinity
        body, _ = mend(text.encode())
        assert json.loads(body) == expected(json.loads(text))

    check()
