"""What each action sends, and what Mixpanel's answers mean. Source: spec/destinations.md §2.1, §2.4, §2.6."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from cdpd.config.problem import ConfigError
from cdpd.destinations.outcome import BadCredentials, BadEvent, Delivered, RateLimited, Skipped, TryAgain
from cdpd.testing import (
    CUT,
    RESET,
    FakeClock,
    Reply,
    run_action,
    run_check,
    running_destination,
    running_vendor,
)
from cdpd_mixpanel.destination import Mixpanel

TOKEN = {"project_token": "mp-token"}
PERSON = {"type": "identify", "userId": "u1", "anonymousId": "a1", "traits": {"plan": "pro"}}


async def identified(event: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    acted = await run_action(Mixpanel, "identifyUser", {"type": "identify", **event}, **more)
    return [request["form"]["data"] for request in acted.requests]


@pytest.mark.parametrize(
    ("region", "host"),
    [("US", "api"), ("EU", "api-eu"), ("IN", "api-in"), ("EU 🇪🇺", "api-eu"), ("IN 🇮🇳", "api-in")],
)
async def test_each_region_has_its_host(region: str, host: str) -> None:
    acted = await run_action(Mixpanel, "trackEvent", {}, settings={**TOKEN, "api_region": region})
    assert acted.requests[0]["url"] == f"https://{host}.mixpanel.com/import?strict=1"


async def test_the_token_signs_imports_where_there_is_no_secret_and_strictness_can_be_lost() -> None:
    acted = await run_action(Mixpanel, "trackEvent", {}, settings={**TOKEN, "strict_mode": "0"})
    assert acted.requests[0]["headers"]["authorization"] == "Basic bXAtdG9rZW46"
    assert acted.requests[0]["url"].endswith("/import?strict=0")


async def test_identify_joins_both_ids_and_then_sets_the_profile() -> None:
    settings = {**TOKEN, "source_name": "web"}
    joined, profile = await identified({**PERSON, "context": {"ip": "203.0.113.7"}}, settings=settings)
    assert joined == {
        "event": "$identify",
        "properties": {
            "$identified_id": "u1", "$anon_id": "a1", "token": "mp-token", "segment_source_name": "web",
        },
    }  # fmt: skip
    assert profile == {
        "$token": "mp-token",
        "$distinct_id": "u1",
        "$ip": "203.0.113.7",
        "$set": {"plan": "pro"},
    }


async def test_identify_leaves_out_what_it_has_nothing_for() -> None:
    (only,) = await identified({"userId": "u1", "traits": {"plan": "pro"}})
    assert only["$set"] == {"plan": "pro"}
    (only,) = await identified({"userId": "u1", "anonymousId": "a1", "traits": {}})
    assert only["event"] == "$identify"
    acted = await run_action(Mixpanel, "identifyUser", {"type": "identify", "userId": "u1", "traits": {}})
    assert acted == ([Skipped("NOTHING_TO_SEND")], [])


async def test_somebody_anonymous_has_a_profile_too() -> None:
    joined, profile = await identified({"anonymousId": "a1", "traits": {"plan": "pro"}})
    assert joined["properties"] == {"$anon_id": "a1", "token": "mp-token"}
    assert profile["$distinct_id"] == "a1"


async def test_no_profile_is_set_before_both_ids_are_one() -> None:
    acted = await run_action(Mixpanel, "identifyUser", PERSON, replies=[503])
    assert isinstance(acted.outcome, TryAgain)
    assert len(acted.requests) == 1


@pytest.mark.parametrize("body", [b"0", b'{"status": 0, "error": "bad token"}'])
async def test_a_zero_is_a_refusal(body: bytes) -> None:
    acted = await run_action(Mixpanel, "alias", {"type": "alias"}, replies=[Reply(200, {}, body)])
    assert isinstance(acted.outcome, BadEvent)
    assert len(acted.requests) == 1
    if b"bad token" in body:
        assert "bad token" in acted.outcome.reason


async def test_a_refused_identify_is_told_but_the_profile_is_set_all_the_same() -> None:
    refused = Reply(200, {}, b'{"status": 0, "error": "$anon_id is no UUID"}')
    acted = await run_action(Mixpanel, "identifyUser", PERSON, replies=[refused, Reply(200, {}, b"1")])
    assert isinstance(acted.outcome, BadEvent)
    assert "$anon_id is no UUID" in acted.outcome.reason
    assert [request["url"].rpartition("/")[2] for request in acted.requests] == ["track", "engage"]
    acted = await run_action(Mixpanel, "identifyUser", PERSON, replies=[refused, 503])
    assert isinstance(acted.outcome, TryAgain), "the profile is still to be set"
    acted = await run_action(Mixpanel, "identifyUser", {**PERSON, "traits": {}}, replies=[400])
    assert isinstance(acted.outcome, BadEvent)


@pytest.mark.parametrize("body", [b"1", b'{"status": 1}'])
async def test_a_one_is_none(body: bytes) -> None:
    acted = await run_action(Mixpanel, "identifyUser", PERSON, replies=[Reply(200, {}, body)] * 2)
    assert acted.outcome == Delivered(200)


async def test_a_group_under_a_key_of_its_own_is_named_by_that_trait() -> None:
    event = {"type": "group", "groupId": "g1", "traits": {"company_id": 7, "name": "Acme"}}
    acted = await run_action(Mixpanel, "groupIdentifyUser", event, mapping={"group_key": "company_id"})
    assert acted.requests[0]["form"]["data"] == {
        "$token": "mp-token", "$group_key": "company_id", "$group_id": 7,
        "$set": {"company_id": 7, "$name": "Acme"},
    }  # fmt: skip
    acted = await run_action(Mixpanel, "groupIdentifyUser", event, mapping={"group_key": "other"})
    assert acted.requests[0]["form"]["data"]["$group_id"] == "g1"


async def test_a_group_without_traits_is_refused() -> None:
    acted = await run_action(Mixpanel, "groupIdentifyUser", {"type": "group", "groupId": "g1"})
    assert isinstance(acted.outcome, BadEvent)
    assert "traits are missing" in acted.outcome.reason
    assert acted.requests == []


async def test_an_alias_names_the_old_and_the_new_id() -> None:
    event = {"type": "alias", "userId": "u1", "previousId": "old"}
    acted = await run_action(Mixpanel, "alias", event)
    assert acted.requests[0]["url"] == "https://api.mixpanel.com/track"
    assert acted.requests[0]["form"]["data"] == {
        "event": "$create_alias",
        "properties": {"distinct_id": "old", "alias": "u1", "token": "mp-token"},
    }


@pytest.mark.parametrize("value", ["ten", "", True, None, [1], "nan", "1_000"])
async def test_only_numbers_are_added(value: object) -> None:
    event = {"properties": {"increment": {"xp": value}}}
    acted = await run_action(Mixpanel, "incrementProperties", event)
    assert isinstance(acted.outcome, BadEvent)
    assert "increment.xp: a number is expected" in acted.outcome.reason


async def test_at_most_twenty_properties_are_added_to() -> None:
    for number, kind in ((20, Delivered), (21, BadEvent)):
        event = {"properties": {"increment": {f"p{at}": at for at in range(number)}}}
        acted = await run_action(Mixpanel, "incrementProperties", event)
        assert isinstance(acted.outcome, kind)


# -- requests of several events ----------------------------------------------------------------------------------


def order(number: int, products: int) -> dict[str, Any]:
    bought = [{"product_id": f"p{at}"} for at in range(products)]
    return {"event": "Order Completed", "userId": f"u{number}", "properties": {"products": bought}}


async def test_the_elements_of_purchases_are_counted() -> None:
    orders = [order(number, 999) for number in range(3)]
    acted = await run_action(Mixpanel, "trackPurchase", *orders, mapping={"batch_size": 2000})
    assert [len(request["json"]) for request in acted.requests] == [2000, 1000]


async def test_a_purchase_of_which_one_element_is_refused_is_refused_alone() -> None:
    refused = {"failed_records": [{"index": 4, "field": "properties.price", "message": "too high"}]}
    reply = Reply(400, {}, json.dumps(refused).encode())
    acted = await run_action(
        Mixpanel, "trackPurchase", order(1, 2), order(2, 2), order(3, 2), replies=[reply]
    )
    assert [outcome.kind for outcome in acted.outcomes] == ["delivered", "bad_event", "delivered"]
    assert isinstance(acted.outcomes[1], BadEvent)
    assert acted.outcomes[1].reason == "properties.price: too high"
    assert len(acted.requests) == 1


async def test_batches_are_as_small_as_the_mapping_says() -> None:
    events = [{"userId": f"u{at}"} for at in range(4)]
    acted = await run_action(Mixpanel, "trackEvent", *events, mapping={"batch_size": 2})
    assert [len(request["json"]) for request in acted.requests] == [2, 2]
    acted = await run_action(Mixpanel, "trackEvent", *events, mapping={"enable_batching": False})
    assert [len(request["json"]) for request in acted.requests] == [1, 1, 1, 1]


async def test_a_request_stays_under_two_million_bytes_whatever_a_mapping_makes_of_events() -> None:
    events = [{"userId": f"u{at}", "properties": {"x": "y" * 1000}} for at in range(1000)]
    grown = {"event_properties": {key: {"@path": "$.properties.x"} for key in "abc"}}
    acted = await run_action(Mixpanel, "trackEvent", *events, mapping=grown)
    assert {outcome.kind for outcome in acted.outcomes} == {"delivered"}
    assert sum(len(request["json"]) for request in acted.requests) == 1000
    assert (
        max(len(json.dumps(request["json"], separators=(",", ":"))) for request in acted.requests) < 2_000_000
    )


@pytest.mark.parametrize("body", [b'{"code": 400}', b'{"failed_records": []}', b"no JSON", b"[1]"])
async def test_a_refusal_that_names_nobody_means_all(body: bytes) -> None:
    acted = await run_action(Mixpanel, "trackEvent", {}, {}, replies=[Reply(400, {}, body)])
    assert [outcome.kind for outcome in acted.outcomes] == ["bad_event", "bad_event"]


async def test_what_is_too_large_goes_in_halves() -> None:
    acted = await run_action(Mixpanel, "trackEvent", {}, {}, replies=[413])
    assert [len(request["json"]) for request in acted.requests] == [2, 1, 1]


# -- a vendor on the loopback, which misbehaves ------------------------------------------------------------------


async def test_presets_name_pages_and_screens_and_leave_alias_alone() -> None:
    async with running_vendor() as vendor:
        async with running_destination(Mixpanel, {**TOKEN, "base_url": vendor.url}) as mixpanel:
            vendor.otherwise = Reply(body=b"1")
            outcomes = await mixpanel.deliver(
                {"type": "page", "name": "Mugs"},
                {"type": "page"},
                {"type": "screen", "name": ""},
                {"type": "alias", "userId": "u1", "previousId": "old"},
            )
        assert [outcome.kind for outcome in outcomes] == ["delivered"] * 3 + ["skipped"]
        names = [event["event"] for request in vendor.requests for event in request.events]
        assert sorted(names) == ["Viewed Mugs", "Viewed Page", "Viewed Screen"]


async def test_an_order_is_no_ordinary_event_too() -> None:
    async with running_vendor() as vendor:
        async with running_destination(Mixpanel, {**TOKEN, "base_url": vendor.url}) as mixpanel:
            await mixpanel.deliver(order(1, 1))
        (request,) = vendor.requests
        assert [event["event"] for event in request.json] == ["Order Completed", "Product Purchased"]


async def test_forms_and_arrays_arrive_as_such_and_no_secret_is_told() -> None:
    async with running_vendor() as vendor:
        options = {**TOKEN, "api_secret": "mp-secret", "base_url": f"{vendor.url}/"}
        async with running_destination(Mixpanel, options) as mixpanel:
            vendor.replies(Reply(200, {}, b"1"), Reply(200, {}, b"1"), 422)
            await mixpanel.deliver(PERSON)
            (outcome,) = await mixpanel.deliver({"event": "Song Played"})
        assert isinstance(outcome, BadEvent)
        assert "mp-secret" not in repr(outcome)
        track, engage, imported = vendor.requests
        assert (track.path, engage.path, imported.path) == ("/track", "/engage", "/import?strict=1")
        assert json.loads(parse_qs(engage.body.decode())["data"][0])["$set"] == {"plan": "pro"}
        assert imported.json[0]["event"] == "Song Played"


@pytest.mark.parametrize("reply", [RESET, CUT, Reply(500), Reply(502), Reply(503)])
async def test_a_vendor_that_fails_is_asked_again(reply: Reply) -> None:
    async with running_vendor() as vendor:
        async with running_destination(Mixpanel, {**TOKEN, "base_url": vendor.url}) as mixpanel:
            vendor.replies(reply)
            (first,) = await mixpanel.deliver({"event": "Song Played"})
            (again,) = await mixpanel.deliver({"event": "Song Played", "messageId": "m1"}, attempt=2)
        assert isinstance(first, TryAgain)
        assert again == Delivered(200)
        ids = [request.json[0]["properties"]["$insert_id"] for request in vendor.requests]
        assert ids == ["m1", "m1"], "by this Mixpanel knows that it is the same"


async def test_wrong_credentials_are_no_fault_of_the_events() -> None:
    async with running_vendor() as vendor:
        async with running_destination(Mixpanel, {**TOKEN, "base_url": vendor.url}) as mixpanel:
            vendor.replies(401)
            (outcome,) = await mixpanel.deliver({"event": "Song Played"})
        assert isinstance(outcome, BadCredentials)


async def test_a_limit_without_a_time_waits_two_seconds_and_doubles_up_to_a_minute() -> None:
    clock = FakeClock()
    async with running_vendor() as vendor:
        options = {**TOKEN, "base_url": vendor.url}
        async with running_destination(Mixpanel, options, clock=clock) as mixpanel:
            waits = []
            for reply in [429] * 7 + [Reply(429, {"Retry-After": "9"}), 200, 429]:
                vendor.replies(reply)
                (outcome,) = await mixpanel.deliver({"event": "Song Played"})
                waits.append(outcome.after if isinstance(outcome, RateLimited) else 0)
                await clock.advance(100)
        assert waits == [2, 4, 8, 16, 32, 60, 60, 9, 0, 2]


async def test_two_requests_that_meet_the_same_limit_count_once() -> None:
    async with running_vendor() as vendor:
        vendor.otherwise = Reply(429)
        async with running_destination(Mixpanel, {**TOKEN, "base_url": vendor.url}) as mixpanel:
            outcomes = await mixpanel.deliver(PERSON, {"userId": "u2"})
        assert [outcome.after for outcome in outcomes if isinstance(outcome, RateLimited)] == [2, 2]


async def test_the_token_is_needed_and_regions_are_checked() -> None:
    with pytest.raises(ConfigError, match="project_token: missing"):
        await run_action(Mixpanel, "trackEvent", {}, settings={})
    with pytest.raises(ConfigError, match="api_region"):
        await run_action(Mixpanel, "trackEvent", {}, settings={**TOKEN, "api_region": "XX"})


async def test_the_project_token_can_be_tested() -> None:
    found, (request,) = await run_check(Mixpanel)
    assert found.state == "ok"
    assert request["method"] == "POST"
    assert request["url"] == "https://mixpanel.com/api/app/validate-project-credentials/"
    assert request["json"] == {"project_token": "mp-token"}
    found, _ = await run_check(Mixpanel, replies=[Reply(401, body=b'{"error": "mp-token is unknown"}')])
    assert found.state == "failed"
    assert "mp-token" not in found.text + found.answer + found.request
