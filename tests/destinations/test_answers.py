"""The one table of HTTP answers: spec/destinations.md §0.2 and §0.4, spec/connections.md §7."""

from __future__ import annotations

import ssl
import sys
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from cdpd.destinations.answers import Answer, Rule, Table, failure_of, outcome_of, retry_after
from cdpd.destinations.exchange import MOST_READ, send, shown_request, shown_url
from cdpd.destinations.outcome import (
    BadConfig,
    BadCredentials,
    BadEvent,
    Delivered,
    RateLimited,
    TooLarge,
    TryAgain,
)
from tests.delivery.vendor import RESET, Reply, vendor

UNTRUSTED = ssl.SSLCertVerificationError(1, "self-signed")
NOW_MS = 1_700_000_000_000
TABLE: dict[type, list[int]] = {
    Delivered: [200, 201, 202, 204, 299],
    BadCredentials: [401, 403],
    BadConfig: [300, 301, 302, 303, 304, 307, 308, 402, 501],
    BadEvent: [400, 404, 405, 406, 409, 410, 411, 412, 414, 415, 416, 418, 422, 424, 426, 431, 451, 499],
    TooLarge: [413],
    RateLimited: [429],
    TryAgain: [408, 423, 425, 500, 502, 503, 504, 505, 506, 507, 508, 510, 511, 520, 525, 530, 598, 599],
}


@pytest.mark.parametrize(("kind", "status"), [(k, status) for k, many in TABLE.items() for status in many])
def test_each_status_has_its_outcome(kind: type, status: int) -> None:
    outcome = outcome_of(Answer(status, {}, "because"), NOW_MS, "POST it")
    assert type(outcome) is kind
    assert getattr(outcome, "status", None) == status
    if isinstance(outcome, BadEvent | TooLarge):
        assert (outcome.request, outcome.answer) == ("POST it", "because")
    if status >= 400:
        assert "because" in getattr(outcome, "reason", "")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        # 1. seconds
        ({}, None),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "0"}, 1.0),
        ({"Retry-After": "999999"}, 3600.0),
        ({"Retry-After": " 30 "}, 30.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "1e3"}, None),
        ({"Retry-After": ""}, None),
        # 2. a date, in the three forms of HTTP, by the answer's own clock where it tells it
        ({"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}, 60.0),
        ({"Retry-After": "Tuesday, 14-Nov-23 22:14:20 GMT"}, 60.0),
        ({"Retry-After": "Tue Nov 14 22:14:20 2023"}, 60.0),
        ({"Retry-After": "Tue, 14 Nov 2023 22:10:00 GMT"}, 1.0),
        ({"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT", "Date": "Tue, 14 Nov 2023 22:14:00 GMT"}, 20.0),
        ({"Retry-After": "Tuesday, 14-Nov-23 22:14:20 GMT", "Date": "Tue Nov 14 22:14:00 2023"}, 20.0),
        ({"Retry-After": "Tue Nov 14 22:14:20 2023", "Date": "Tuesday, 14-Nov-23 22:14:00 GMT"}, 20.0),
        ({"Retry-After": "Wed, 15 Nov 2023 22:14:20 GMT"}, 3600.0),
        ({"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT", "Date": "nonsense"}, 60.0),
        ({"Retry-After": "Tue, 99 Nov 2023 22:14:20 GMT"}, None),
        # 3. a reset: seconds from now, or the epoch in seconds or milliseconds
        ({"X-RateLimit-Reset": "30"}, 30.0),
        ({"RateLimit-Reset": "40"}, 40.0),
        ({"X-RateLimit-Reset": "999999999"}, 3600.0),
        ({"X-RateLimit-Reset": "1699999999"}, 1.0),
        ({"X-RateLimit-Reset": "soon", "RateLimit-Reset": "40"}, 40.0),
        ({"X-RateLimit-Reset": "30", "RateLimit-Reset": "40"}, 30.0),
        ({"X-RateLimit-Reset": "1700000050"}, 50.0),
        ({"X-RateLimit-Reset": "1700000070000"}, 70.0),
        ({"Retry-After": "nonsense", "X-RateLimit-Reset": "30"}, 30.0),
        ({"Retry-After": "20", "X-RateLimit-Reset": "30"}, 20.0),
    ],
)
def test_how_long_the_vendor_asks_to_wait(headers: dict[str, str], wait: float | None) -> None:
    assert retry_after(headers, NOW_MS) == pytest.approx(wait)
    outcome = outcome_of(Answer(429, headers), NOW_MS)
    assert isinstance(outcome, RateLimited)
    assert outcome.after == pytest.approx(wait)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "retry"),
        ({"Retry-After": "30"}, "rate_limited"),
        ({"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}, "rate_limited"),
        ({"Retry-After": "soon"}, "retry"),
        ({"X-RateLimit-Reset": "30"}, "retry"),
    ],
)
def test_503_is_a_rate_limit_where_it_says_when_to_come_again(headers: dict[str, str], kind: str) -> None:
    assert outcome_of(Answer(503, headers), NOW_MS).kind == kind


def test_a_retry_may_name_its_time_too() -> None:
    outcome = outcome_of(Answer(500, {"Retry-After": "30"}), NOW_MS)
    assert isinstance(outcome, TryAgain)
    assert outcome.after == 30


def test_time_outs_are_known_as_such() -> None:
    codes = [getattr(outcome_of(Answer(status, {}), NOW_MS), "code", None) for status in (408, 504, 500, 425)]
    assert codes == ["ETIMEDOUT", "ETIMEDOUT", "", ""]


# -- a vendor's own table ------------------------------------------------------------------------------------

OWN = Table(
    {
        404: Rule("bad_config", "no such list: check `list_id`"),
        409: Rule("retry"),
        403: Rule("bad_event"),
        413: Rule("resend"),
        201: Rule("skipped", "ALREADY_KNOWN"),
        302: Rule("bad_config", "it moved to {location}"),
    },
    body=lambda answer: Rule("bad_event") if answer.body == "0" else None,
    waits=("X-RateLimit-Retry-After",),
)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404, {}), "bad_config"),
        (Answer(409, {}), "retry"),
        (Answer(403, {}), "bad_event"),
        (Answer(413, {}), "resend"),
        (Answer(201, {}), "skipped"),
        (Answer(200, {}, "0"), "bad_event"),
        (Answer(200, {}, "1"), "delivered"),
        (Answer(404, {}, "0"), "bad_event"),
        (Answer(401, {}), "bad_credentials"),
        (Answer(400, {}), "bad_event"),
    ],
)
def test_a_vendors_own_table_comes_before_the_default(answer: Answer, kind: str) -> None:
    assert outcome_of(answer, NOW_MS, "POST it", OWN).kind == kind


def test_what_a_vendors_own_row_advises_is_told() -> None:
    told = outcome_of(Answer(404, {}, "gone"), NOW_MS, "", OWN)
    assert told == BadConfig(
        "it answered 404 Not Found: gone; no such list: check `list_id`", 404, answer="gone"
    )
    told = outcome_of(Answer(302, {"Location": "/new"}), NOW_MS, "", OWN)
    assert isinstance(told, BadConfig)
    assert told.reason == "it answered 302 Found; it moved to /new"
    said_ok = outcome_of(Answer(200, {}, "0"), NOW_MS, "POST it", OWN)
    assert said_ok == BadEvent("it answered 200 OK: 0", 200, "POST it", "0")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"X-RateLimit-Retry-After": "12.5"}, 12.5),
        ({"X-RateLimit-Retry-After": "12", "RateLimit-Reset": "7"}, 7.0),
        ({"X-RateLimit-Retry-After": "12", "Retry-After": "5"}, 5.0),
    ],
)
def test_a_vendors_own_header_is_looked_at_last(headers: dict[str, str], wait: float) -> None:
    told = outcome_of(Answer(429, headers), NOW_MS, "", OWN)
    assert isinstance(told, RateLimited)
    assert told.after == wait


# -- no answer -----------------------------------------------------------------------------------------------


def key(host: str = "vendor.example") -> ConnectionKey:
    return ConnectionKey(host, 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        (TimeoutError(), TryAgain, "ETIMEDOUT"),
        (aiohttp.ServerTimeoutError(), TryAgain, "ETIMEDOUT"),
        (aiohttp.ClientConnectorDNSError(key(), OSError(-2, "unknown")), TryAgain, "vendor.example"),
        (aiohttp.ClientConnectorError(key(), ConnectionRefusedError(111, "refused")), TryAgain, "ECONNREFUSED"),
        (aiohttp.ClientConnectorError(key(), OSError(113, "No route to host")), TryAgain, "EHOSTUNREACH"),
        (aiohttp.ServerDisconnectedError(), TryAgain, "ECONNRESET"),
        (ConnectionResetError(104, "Connection reset by peer"), TryAgain, "ECONNRESET"),
        (aiohttp.ClientPayloadError("cut"), TryAgain, "cut"),
        (aiohttp.ClientConnectorSSLError(key(), ssl.SSLError(1, "handshake")), TryAgain, "handshake"),
        (aiohttp.ClientConnectorCertificateError(key(), UNTRUSTED), BadConfig, "certificate"),
        (aiohttp.InvalidURL("nope"), BadConfig, "nope"),
    ],
)  # fmt: skip
def test_a_request_without_an_answer_has_its_outcome_too(error: Exception, kind: type, word: str) -> None:
    outcome = failure_of(error)
    assert type(outcome) is kind
    assert outcome is not None
    assert word in outcome.reason


def test_what_is_no_failure_of_the_network_is_left_to_others() -> None:
    assert failure_of(KeyError("x")) is None


def test_the_table_needs_no_aiohttp() -> None:
    import subprocess

    script = (
        "import sys, cdpd.destinations.answers, cdpd.destinations.webhook; print('aiohttp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# -- the exchange ----------------------------------------------------------------------------------------------


async def exchanged(url: str, **how: Any) -> Answer:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        return await send(http, "POST", url, data=b'{"a":1}', headers={"X-Own": "1"}, **how)


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_that_keeps_the_body_is_followed_on_the_same_host(status: int) -> None:
    async with vendor() as it:
        it.replies(Reply(status, {"Location": "/moved"}))
        answer = await exchanged(it.url)
    assert answer.status == 200
    assert [(r.method, r.path, r.body, r.headers["X-Own"]) for r in it.requests] == [
        ("POST", "/events", b'{"a":1}', "1"),
        ("POST", "/moved", b'{"a":1}', "1"),
    ]


async def test_no_redirect_leads_to_another_host_or_changes_the_method() -> None:
    async with vendor() as it, vendor() as other:
        it.replies(Reply(307, {"Location": other.url}), Reply(302, {"Location": "/moved"}))
        first, second = await exchanged(it.url), await exchanged(it.url)
        outcome = outcome_of(first, NOW_MS)
    assert (first.status, second.status) == (307, 302)
    assert other.requests == []
    assert isinstance(outcome, BadConfig)
    assert other.url in outcome.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_whoever_only_reads_follows_every_redirect_on_the_same_host(status: int) -> None:
    async with vendor() as it, vendor() as other, aiohttp.ClientSession() as http:
        it.replies(Reply(status, {"Location": "/moved"}))
        answer = await send(http, "GET", it.url, headers={})
        assert (answer.status, [(r.method, r.path) for r in it.requests]) == (
            200,
            [("GET", "/events"), ("GET", "/moved")],
        )
        it.replies(Reply(status, {"Location": other.url}))
        assert (await send(http, "GET", it.url, headers={})).status == status
        assert other.requests == []


async def test_a_redirect_loop_ends() -> None:
    async with vendor() as it:
        it.otherwise = Reply(308, {"Location": "/events"})
        answer = await exchanged(it.url)
    assert answer.status == 308
    assert len(it.requests) == 21, "the first, and twenty hops"


async def test_of_a_huge_answer_only_the_beginning_is_read() -> None:
    async with vendor() as it:
        it.replies(Reply(400, body=b"x" * 10_000_000))
        answer = await exchanged(it.url)
    assert len(answer.body) == MOST_READ


async def test_an_answer_in_no_known_encoding_is_read_anyhow() -> None:
    async with vendor() as it:
        it.replies(Reply(400, {"Content-Type": "text/plain; charset=klingon"}, b"\xffnope"))
        answer = await exchanged(it.url)
    assert answer.body == "\ufffdnope"


async def test_a_reset_raises_what_the_table_knows() -> None:
    async with vendor() as it:
        it.replies(RESET)
        with pytest.raises(aiohttp.ClientError) as caught:
            await exchanged(it.url)
    assert isinstance(failure_of(caught.value), TryAgain)


def test_a_request_is_shown_without_what_is_secret() -> None:
    shown = shown_request(
        "POST", "https://u:pw@x.example/a?api_key=k1&b=2", {"Authorization": "Bearer t"}, b'{"a":1}'
    )
    assert shown == 'POST https://x.example/a?api_key=•••&b=2\nAuthorization: •••\n\n{"a":1}'
    assert shown_url("https://x.example/a?b=2") == "https://x.example/a?b=2"
