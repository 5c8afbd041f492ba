"""Requests to Customer.io, and what its answers mean. Source: spec/destinations.md §4.1, §4.3, §4.5."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdpd.config.problem import ConfigError
from cdpd.destinations.outcome import BadConfig, BadCredentials, BadEvent, Delivered, RateLimited, TryAgain
from cdpd.testing import (
    CUT,
    HANG,
    RESET,
    Acted,
    Reply,
    run_action,
    run_check,
    running_destination,
    running_vendor,
)
from cdpd_customerio.destination import CustomerIO

KEYS = {"site_id": "site-1", "api_key": "cio-key"}


def errors(*told: dict[str, Any], status: int = 207) -> Reply:
    return Reply(status, {}, json.dumps({"errors": told}).encode())


async def tracked(count: int, *replies: int | Reply, mapping: dict[str, Any] | None = None) -> Acted:
    events = [{"event": "Song Played", "userId": f"u{at}"} for at in range(count)]
    return await run_action(CustomerIO, "trackEvent", *events, mapping=mapping, replies=replies)


def kinds(acted: Acted) -> list[str]:
    return [outcome.kind for outcome in acted.outcomes]


@pytest.mark.parametrize(
    ("region", "host"), [("US", "track"), ("EU", "track-eu"), ("US 🇺🇸", "track"), ("EU 🇪🇺", "track-eu")]
)
async def test_each_region_has_its_host(region: str, host: str) -> None:
    acted = await run_action(CustomerIO, "trackEvent", {}, settings={**KEYS, "account_region": region})
    assert acted.requests[0]["url"] == f"https://{host}.customer.io/api/v2/entity"
    assert acted.requests[0]["headers"]["authorization"] == "Basic c2l0ZS0xOmNpby1rZXk="


async def test_one_operation_goes_as_it_is_and_several_as_a_batch_of_fifty_at_most() -> None:
    acted = await tracked(101)
    assert [len(request["json"]["batch"]) for request in acted.requests[:2]] == [50, 50]
    assert acted.requests[2]["url"].endswith("/api/v2/entity")
    acted = await tracked(101, mapping={"batch_size": 1000})
    assert len(acted.requests[0]["json"]["batch"]) == 100, "Customer.io's own limit"
    acted = await tracked(2, mapping={"enable_batching": False})
    assert [request["url"].rpartition("/")[2] for request in acted.requests] == ["entity", "entity"]


async def test_objects_of_people_and_of_anonymous_ones_go_apart() -> None:
    events = [
        {
            "type": "group",
            "groupId": f"g{at}",
            **({"anonymousId": f"a{at}"} if at % 2 else {"userId": f"u{at}"}),
        }
        for at in range(4)
    ]
    acted = await run_action(CustomerIO, "createUpdateObject", *events)
    found = [[each["action"] for each in request["json"]["batch"]] for request in acted.requests]
    assert found == [["identify"] * 2, ["identify_anonymous"] * 2]


async def test_an_operation_over_32_kb_is_refused_and_its_neighbours_go() -> None:
    events = [
        {"userId": f"u{at}", "properties": {"x": "y" * size}} for at, size in enumerate((10, 33_000, 10))
    ]
    acted = await run_action(
        CustomerIO, "trackEvent", *events, replies=[errors({"batch_index": 1, "message": "no"})]
    )
    assert kinds(acted) == ["delivered", "bad_event", "bad_event"]
    assert isinstance(acted.outcomes[1], BadEvent)
    assert "32768 bytes" in acted.outcomes[1].reason
    (request,) = acted.requests
    assert [each["identifiers"]["id"] for each in request["json"]["batch"]] == ["u0", "u2"]


async def test_one_that_is_too_large_makes_no_request() -> None:
    acted = await run_action(CustomerIO, "trackEvent", {"properties": {"x": "é" * 17_000}})
    assert acted.outcome.kind == "bad_event"
    assert acted.requests == []


async def test_a_request_has_500_kb_at_most_whatever_a_mapping_makes_of_events() -> None:
    events = [{"userId": f"u{at}", "properties": {"x": "y" * 8_000}} for at in range(50)]
    grown = {"data": {key: {"@path": "$.properties.x"} for key in "abc"}}
    acted = await run_action(CustomerIO, "trackEvent", *events, mapping=grown)
    assert set(kinds(acted)) == {"delivered"}
    assert max(len(json.dumps(request["json"])) for request in acted.requests) < 510_000
    assert sum(len(request["json"]["batch"]) for request in acted.requests) == 50


# -- answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 207, 400])
async def test_an_answer_names_those_that_it_refuses_whatever_its_status(status: int) -> None:
    told = {"batch_index": 0, "reason": "invalid", "field": "name", "message": "name too long"}
    acted = await tracked(3, errors(told, {"batch_index": 2, "message": "no"}, status=status))
    assert kinds(acted) == ["bad_event", "delivered", "bad_event"]
    assert isinstance(acted.outcomes[0], BadEvent)
    assert acted.outcomes[0].reason == "name: invalid: name too long"
    assert "Song Played" in acted.outcomes[0].request


@pytest.mark.parametrize(
    "reply", [errors({"message": "no"}), errors({"batch_index": 9}), errors({"message": "no"}, status=400)]
)
async def test_a_refusal_that_names_nobody_means_all(reply: Reply) -> None:
    assert kinds(await tracked(2, reply)) == ["bad_event", "bad_event"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"errors": []}', b'{"errors": null}', b"[]", b"ok"])
async def test_an_answer_without_errors_is_a_delivery(body: bytes) -> None:
    assert kinds(await tracked(2, Reply(200, {}, body))) == ["delivered", "delivered"]


async def test_a_single_operation_that_is_refused_is_told_with_the_reason() -> None:
    for reply in (
        errors({"reason": "invalid", "field": "id"}, status=200),
        Reply(400, {}, b'{"meta":{"error":"no"}}'),
    ):
        assert kinds(await tracked(1, reply)) == ["bad_event"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, BadCredentials), (403, BadCredentials), (404, BadConfig), (429, RateLimited), (500, TryAgain)],
)
async def test_other_answers_mean_all(status: int, kind: type) -> None:
    acted = await tracked(2, status)
    assert all(isinstance(outcome, kind) for outcome in acted.outcomes)
    if status == 404:
        assert isinstance(acted.outcomes[0], BadConfig)
        assert "account_region" in acted.outcomes[0].reason


async def test_what_is_too_large_goes_in_halves() -> None:
    acted = await tracked(4, 413)
    assert kinds(acted) == ["delivered"] * 4
    assert [len(request["json"]["batch"]) for request in acted.requests] == [4, 2, 2]


# -- delivery reports ----------------------------------------------------------------------------------------


async def test_delivery_reports_go_one_at_a_time() -> None:
    own = {"deliveryId": "d1", "metric": "clicked", "href": "https://shop.example", "actionName": "Buy"}
    acted = await run_action(CustomerIO, "reportDeliveryEvent", {"properties": own}, {"properties": own})
    assert [request["url"] for request in acted.requests] == ["https://track.customer.io/api/v1/metrics"] * 2
    assert acted.requests[0]["json"] == {
        "delivery_id": "d1", "metric": "clicked", "timestamp": 1_700_000_000, "href": "https://shop.example",
        "metadata": {"action_name": "Buy"},
    }  # fmt: skip


async def test_a_report_without_a_time_is_of_now_and_without_more_has_no_more() -> None:
    event = {"properties": {"deliveryId": "d1", "metric": "opened"}, "timestamp": None}
    acted = await run_action(CustomerIO, "reportDeliveryEvent", event)
    assert acted.requests[0]["json"] == {"delivery_id": "d1", "metric": "opened", "timestamp": 1_700_000_000}
    acted = await run_action(CustomerIO, "reportDeliveryEvent", {**event, "timestamp": "1768472430.5"})
    assert acted.requests[0]["json"]["timestamp"] == 1_768_472_430


async def test_a_metric_that_there_is_not_is_refused() -> None:
    acted = await run_action(
        CustomerIO, "reportDeliveryEvent", {"properties": {"deliveryId": "d1", "metric": "forgotten"}}
    )
    assert acted.outcome.kind == "bad_event"


# -- presets, and a vendor on the loopback, which misbehaves ---------------------------------------------------


@pytest.mark.parametrize(
    ("event", "action"),
    [
        ({"event": "Song Played"}, "event"),
        ({"event": "User Deleted"}, "delete"),
        ({"event": "User Suppressed"}, "suppress"),
        ({"event": "Application Opened", "context": {"device": {"token": "t", "type": "ios"}}}, "add_device"),
        ({"event": "Relationship Deleted", "properties": {"objectId": "o1"}}, "delete_relationships"),
        ({"type": "page", "properties": {"url": "https://shop.example"}}, "page"),
        ({"type": "screen", "name": "Home"}, "screen"),
        ({"type": "group", "groupId": "g1"}, "identify"),
        ({"type": "alias", "previousId": "old"}, "merge"),
    ],
)
async def test_each_call_has_one_preset(event: dict[str, Any], action: str) -> None:
    async with running_vendor() as vendor:
        async with running_destination(CustomerIO, {**KEYS, "base_url": vendor.url}) as customerio:
            assert await customerio.deliver(event) == [Delivered(200)]
        (request,) = vendor.requests
        assert request.json["action"] == action


@pytest.mark.parametrize("reply", [RESET, CUT, Reply(502), Reply(503)])
async def test_a_vendor_that_fails_gets_the_same_id_again(reply: Reply) -> None:
    async with running_vendor() as vendor:
        async with running_destination(CustomerIO, {**KEYS, "base_url": f"{vendor.url}/"}) as customerio:
            vendor.replies(reply)
            (first,) = await customerio.deliver({"messageId": "m1"})
            (again,) = await customerio.deliver({"messageId": "m1"}, attempt=2)
        assert isinstance(first, TryAgain)
        assert again == Delivered(200)
        assert [request.json["id"] for request in vendor.requests] == ["m1", "m1"]


async def test_a_vendor_that_hangs_is_given_up() -> None:
    assert (await tracked(1, HANG)).outcome.kind == "retry"


async def test_no_secret_stands_beside_a_parked_event() -> None:
    async with running_vendor() as vendor:
        vendor.replies(Reply(400, {}, b'{"meta": {"error": "cio-key is no key of site-1"}}'))
        async with running_destination(CustomerIO, {**KEYS, "base_url": vendor.url}) as customerio:
            (outcome,) = await customerio.deliver({})
        assert isinstance(outcome, BadEvent)
        assert "cio-key" not in repr(outcome)


async def test_a_wait_that_the_vendor_asks_for_is_kept() -> None:
    acted = await tracked(1, Reply(429, {"Retry-After": "3"}))
    assert isinstance(acted.outcome, RateLimited)
    assert acted.outcome.after == 3


async def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="api_key: missing"):
        await run_action(CustomerIO, "trackEvent", {}, settings={"site_id": "x"})
    with pytest.raises(ConfigError, match="max_requests_per_second"):
        await run_action(CustomerIO, "trackEvent", {}, settings={**KEYS, "max_requests_per_second": 0})


@pytest.mark.parametrize(("region", "host"), [("US", "track"), ("EU", "track-eu")])
async def test_the_keys_can_be_tested_in_their_region(region: str, host: str) -> None:
    settings = {**CustomerIO.example_settings, "account_region": region}
    found, (request,) = await run_check(CustomerIO, settings=settings)
    assert found.state == "ok"
    assert (request["method"], request["url"]) == ("GET", f"https://{host}.customer.io/auth")
    assert request["headers"]["authorization"].startswith("Basic ")
    found, _ = await run_check(CustomerIO, settings=settings, replies=[401])
    assert found.state == "failed"
