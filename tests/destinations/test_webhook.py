"""The webhook: what a receiver gets."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from aiohttp import web

from cdpd.config.decode import decode
from cdpd.destinations.actions import ActionSetup
from cdpd.destinations.outcome import BadConfig, BadCredentials, BadEvent, Delivered, TooLarge, TryAgain
from cdpd.destinations.webhook import Webhook
from cdpd.event import Event
from cdpd.testing import Reply, Vendor, running_destination, running_vendor
from tests.delivery.vendor import vendor
from tests.destinations.conftest import Make, batch


async def test_single_events_are_sent_as_they_stand_with_what_tells_doubles(make: Make) -> None:
    line = (
        b'{"messageId":"m1","type":"track","properties":{"price":1.10,"big":123456789012345678901234567890}}'
    )
    async with vendor() as it:
        hook = make(Webhook, url=it.url)
        given = batch({}, attempt=3)
        given.events[:] = [Event(line)]  # type: ignore[index]
        assert await hook.deliver(given) == [Delivered(200)]
    (request,) = it.requests
    assert request.method == "POST"
    assert request.body == line
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Cdpd-Message-Id"] == "m1"
    assert request.headers["X-Cdpd-Attempt"] == "3"


async def test_a_batch_is_an_array_in_order(make: Make) -> None:
    async with vendor() as it:
        hook = make(Webhook, url=it.url, mode="batch", method="PUT", headers={"X-Team": "growth"})
        assert await hook.deliver(batch({}, {}, {})) == [Delivered(200)] * 3
    (request,) = it.requests
    assert [event["messageId"] for event in json.loads(request.body)] == ["m0", "m1", "m2"]
    assert request.method == "PUT"
    assert request.headers["X-Team"] == "growth"


async def test_a_users_events_go_one_by_one_and_others_do_not_wait_for_them(make: Make) -> None:
    async with vendor() as it:
        it.replies(500)
        hook = make(Webhook, url=it.url, concurrency=1)
        outcomes = await hook.deliver(batch({"userId": "a"}, {"userId": "a"}, {"userId": "b"}))
    assert [type(outcome) for outcome in outcomes] == [TryAgain, TryAgain, TryAgain] or it.got == ["m0", "m2"]
    assert "m1" not in it.got, "not before the one before it"


async def test_where_the_receiver_is_away_the_rest_of_the_batch_is_not_tried(make: Make) -> None:
    async with vendor() as it:
        it.otherwise = Reply(503)
        hook = make(Webhook, url=it.url, concurrency=4)
        outcomes = await hook.deliver(batch(*({"userId": f"u{i}"} for i in range(100))))
    assert {type(outcome) for outcome in outcomes} == {TryAgain}
    assert len(it.requests) <= 8


@pytest.mark.parametrize("reply", [Reply(401), Reply(429, {"Retry-After": "30"})])
async def test_where_it_refuses_everybody_or_asks_to_wait_the_rest_is_not_tried(
    make: Make, reply: Reply
) -> None:
    async with vendor() as it:
        it.otherwise = reply
        hook = make(Webhook, url=it.url, concurrency=2)
        await hook.deliver(batch(*({"userId": f"u{i}"} for i in range(50))))
    assert len(it.requests) <= 2


async def test_one_refused_event_does_not_touch_its_neighbours(make: Make) -> None:
    async with vendor() as it:
        it.replies(200, 422, 200)
        hook = make(Webhook, url=it.url)
        outcomes = await hook.deliver(batch({"userId": "a"}, {"userId": "a"}, {"userId": "a"}))
    assert [type(outcome) for outcome in outcomes] == [Delivered, BadEvent, Delivered]


async def test_in_strict_order_nothing_goes_past_what_was_not_taken(make: Make) -> None:
    async with vendor() as it:
        it.replies(200, 422)
        hook = make(Webhook, url=it.url, ordering="strict")
        outcomes = await hook.deliver(batch(*({"userId": f"u{i}"} for i in range(5))))
    assert [type(outcome) for outcome in outcomes] == [Delivered, BadEvent, TryAgain, TryAgain, TryAgain]
    assert it.got == ["m0", "m1"]


async def test_a_batch_that_is_refused_is_kept_event_by_event(make: Make) -> None:
    async with vendor() as it:
        it.otherwise = Reply(400, body=b"no")
        hook = make(Webhook, url=it.url, mode="batch")
        outcomes = await hook.deliver(batch({}, {}))
    assert all(isinstance(outcome, BadEvent) for outcome in outcomes)
    for i, outcome in enumerate(outcomes):
        assert isinstance(outcome, BadEvent)
        assert f'"m{i}"' in outcome.request
        assert f'"m{1 - i}"' not in outcome.request
        assert outcome.answer == "no"


@pytest.mark.parametrize(
    ("status", "kind"), [(410, BadConfig), (413, TooLarge), (403, BadCredentials), (404, BadEvent)]
)
async def test_what_its_answers_mean(make: Make, status: int, kind: type) -> None:
    async with vendor() as it:
        it.replies(status)
        (outcome,) = await make(Webhook, url=it.url, mode="batch").deliver(batch({}))
    assert type(outcome) is kind


# -- signatures ------------------------------------------------------------------------------------------------


async def test_the_signature_is_of_timestamp_and_whole_body(make: Make) -> None:
    async with vendor() as it:
        hook = make(Webhook, url=it.url, mode="batch", shared_secret="hush", gzip=True)
        await hook.deliver(batch(*({"properties": {"x": "x" * 500}} for _ in range(9))))
    (request,) = it.requests
    body = request.body
    first = body[1 : body.index(b"},{") + 1]
    assert int(request.headers["Content-Length"]) < len(body) / 2
    stamp = request.headers["X-Timestamp"]
    assert stamp == "1700000000"
    expected = hmac.new(b"hush", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert request.headers["X-Signature-256"] == f"sha256={expected}"
    assert request.headers["X-Signature"] == hmac.new(b"hush", first, hashlib.sha1).hexdigest()
    assert request.headers["Content-Encoding"] == "gzip"


async def test_the_older_signature_is_of_the_first_events_json(make: Make) -> None:
    async with vendor() as it:
        hook = make(Webhook, url=it.url, mode="batch", shared_secret="hush", signature="both")
        given = batch({}, {})
        await hook.deliver(given)
    (request,) = it.requests
    expected = hmac.new(b"hush", given.events[0].line(), hashlib.sha1).hexdigest()
    assert request.headers["X-Signature"] == expected
    assert "X-Signature-256" in request.headers


async def test_small_bodies_are_not_compressed(make: Make) -> None:
    async with vendor() as it:
        await make(Webhook, url=it.url, gzip=True).deliver(batch({}))
    assert "Content-Encoding" not in it.requests[0].headers


async def test_an_own_content_type_replaces_ours(make: Make) -> None:
    async with vendor() as it:
        await make(Webhook, url=it.url, headers={"content-type": "application/vnd.x+json"}).deliver(batch({}))
    assert it.requests[0].headers.getall("Content-Type") == ["application/vnd.x+json"]  # type: ignore[attr-defined]


async def test_a_message_id_that_no_header_may_have_is_left_out_of_it(make: Make) -> None:
    async with vendor() as it:
        await make(Webhook, url=it.url).deliver(batch({"messageId": "ü\r\nX-Evil: 1"}))
    assert "X-Cdpd-Message-Id" not in it.requests[0].headers
    assert "X-Evil" not in it.requests[0].headers


# -- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"url": "example.com/x"}, "https://example.com"),
        ({"url": "ftp://example.com"}, "https://example.com"),
        ({"url": "http://"}, "https://example.com"),
        ({"url": "http://x", "headers": {"Host": "y"}}, "Host"),
        ({"url": "http://x", "headers": {"a b": "y"}}, "a b"),
        ({"url": "http://x", "headers": {"A": "line\nbreak-hush"}}, "printable"),
        ({"url": "http://x", "concurrency": 0}, "concurrency"),
        ({"url": "http://x", "retry_for": "4 parsecs"}, "retry_for"),
        ({"url": "http://x", "timeout": 0}, "timeout"),
        ({"url": "http://x", "batch": {"max_events": 0}}, "max_events"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(options, Webhook.Config, dec_hook=decode)
    assert word in str(caught.value)
    assert "hush" not in str(caught.value)


def test_it_has_to_say_where_to_once() -> None:
    send = ActionSetup(action="send", when="all", mapping={"url": "https://b.example"})
    for options, told in (
        ({}, ["it does not say where to"]),
        ({"url": "https://a.example"}, []),
        ({"actions": [send]}, []),
        ({"url": "https://a.example", "actions": [send]}, ["`url` is not used with `actions`: each of them"]),
        ({"actions": [ActionSetup(action="send", when="all")]}, ["the action send needs the field 'url'"]),
    ):
        found = [problem.message for problem in Webhook.problems(Webhook.Config(**options))]
        assert [text[: len(start)] for text, start in zip(found, told, strict=True)] == told


async def test_actions_send_what_their_mappings_make_each_to_its_own_address() -> None:
    async with running_vendor() as it:
        send = {
            "action": "send",
            "when": 'type = "track"',
            "mapping": {
                "url": {"@template": it.url + "/{{properties.to}}"},
                "data": {"name": {"@path": "$.event"}, "price": {"@path": "$.properties.price"}},
                "headers": {"X-Env": "test", "content-type": "application/x-own"},
            },
        }
        async with running_destination(Webhook, {"actions": [send], "shared_secret": "s3cr3t"}) as hook:
            events = [
                {"event": f"E{n}", "userId": f"u{n}", "properties": {"to": "ab"[n % 2], "price": n * 1.0}}
                for n in range(3)
            ]
            told = await hook.deliver(*events, {"type": "page"}, {"event": "E", "properties": {"to": "\n"}})
    assert [outcome.kind for outcome in told] == ["delivered"] * 3 + ["skipped", "bad_event"]
    assert {request.path: request.json for request in it.requests} == {
        "/a": [{"name": "E0", "price": 0}, {"name": "E2", "price": 2}],
        "/b": {"name": "E1", "price": 1},
    }
    (alone,) = [request for request in it.requests if request.path == "/b"]
    assert alone.headers["Content-Type"] == "application/x-own"
    assert alone.headers["X-Signature"] == hmac.new(b"s3cr3t", alone.body, hashlib.sha1).hexdigest()


async def test_an_action_sends_one_by_one_where_its_batch_size_says_so() -> None:
    async with running_vendor() as it:
        send = {"action": "send", "when": "all", "mapping": {"url": it.url, "batch_size": 0}}
        async with running_destination(Webhook, {"actions": [send]}) as hook:
            await hook.deliver({"userId": "a"}, {"userId": "b"})
    assert [type(request.json) for request in it.requests] == [dict, dict]


async def test_of_an_array_that_is_refused_only_the_event_that_it_is_about_is_parked() -> None:
    class Picky(Vendor):
        async def answer(self, request: web.Request) -> web.StreamResponse:
            body = json.loads(await request.read())
            self.otherwise = Reply(400 if any(event["event"] == "Bad" for event in body) else 200)
            return await super().answer(request)

    names = ["Good"] * 20
    names[3] = names[17] = "Bad"
    async with (
        running_vendor(kind=Picky) as it,
        running_destination(Webhook, {"url": it.url, "mode": "batch"}) as hook,
    ):
        told = await hook.deliver(*({"event": name, "userId": f"u{n}"} for n, name in enumerate(names)))
    assert [place for place, outcome in enumerate(told) if outcome.kind == "bad_event"] == [3, 17]
    assert sorted(it.took) == sorted(f"m{n + 1}" for n in range(20) if n not in (3, 17))
    assert len(it.took) == len(set(it.took))


async def test_a_receiver_that_refuses_everything_is_not_asked_for_each_event() -> None:
    for status, most in ((400, 24), (404, 1)):
        async with running_vendor() as it:
            it.otherwise = Reply(status)
            async with running_destination(Webhook, {"url": it.url, "mode": "batch"}) as hook:
                told = await hook.deliver(*({"userId": f"u{n}"} for n in range(300)))
        assert {outcome.kind for outcome in told} == {"bad_event"}
        assert len(it.requests) <= most


async def test_after_a_half_that_has_to_wait_the_other_half_waits_too() -> None:
    async with running_vendor() as it:
        it.replies(400, 503)
        async with running_destination(Webhook, {"url": it.url, "mode": "batch"}) as hook:
            told = await hook.deliver(*({"userId": "u"} for _ in range(4)))
    assert [outcome.kind for outcome in told] == ["retry"] * 4
    assert len(it.requests) == 2
