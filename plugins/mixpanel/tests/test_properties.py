"""Events as Mixpanel's import takes them. Source: spec/destinations.md §2.2, §2.4, §2.5."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd_mixpanel.payloads import Product, Purchase, Track
from cdpd_mixpanel.properties import event_properties, events, group, insert_id, milliseconds, profile

NOW = 1_768_472_431_000
UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def sent(**fields: Any) -> dict[str, Any]:
    return event_properties(Track(**{"event": "Song Played", "insert_id": "m1", **fields}), None, NOW)


def test_what_is_not_known_is_left_out_but_for_distinct_id() -> None:
    assert sent() == {"time": NOW, "distinct_id": "", "$source": "segment", "$insert_id": "m1"}
    assert sent(distinct_id="u1")["id"] == "u1"


def test_ids_and_names_stand_under_each_of_their_names() -> None:
    found = sent(anonymous_id="a", user_id="u", device_name="Pixel", group_id="g")
    assert (found["$anon_id"], found["$device_id"]) == ("a", "a")
    assert (found["$user_id"], found["$identified_id"], found["$group_id"]) == ("u", "u", "g")
    assert (found["$device"], found["$device_name"]) == ("Pixel", "Pixel")


def test_a_false_and_a_zero_are_known() -> None:
    found = sent(bluetooth=False, wifi=True, screen_width=0.0)
    assert (found["$bluetooth_enabled"], found["$wifi_enabled"], found["$screen_width"]) == (False, True, 0)


def test_device_id_region_and_two_of_the_client_hints_are_not_sent() -> None:
    hints = {"mobile": True, "architecture": "arm", "model": "X", "platformVersion": "14", "wow64": False}
    found = sent(device_id="d", region="Leeds", userAgentData=hints)
    assert {key: found[key] for key in ("$mobile", "$platformVersion", "$wow64")} == {
        "$mobile": True, "$platformVersion": "14", "$wow64": False,
    }  # fmt: skip
    assert not {"d", "Leeds", "arm", "X"} & set(map(str, found.values()))


def test_the_events_own_properties_go_over_all_but_time_and_ids() -> None:
    own = {
        "ip": None, "$source": "mine", "time": 1, "id": 2, "distinct_id": 3, "$anon_id": 4, "$group_id": 5,
        "$insert_id": 6, "$user_id": 7,
    }  # fmt: skip
    found = sent(ip="203.0.113.7", distinct_id="u1", event_properties=own)
    assert found["ip"] is None
    assert found["$source"] == "mine"
    assert (found["time"], found["id"], found["distinct_id"], found["$insert_id"]) == (NOW, "u1", "u1", "m1")
    assert not {"$anon_id", "$group_id", "$user_id"} & set(found)


def test_the_source_is_iterable_where_the_event_came_from_there() -> None:
    assert sent(context={"integration": {"name": "Iterable"}})["$source"] == "Iterable"
    assert sent(context={"integration": "Iterable"})["$source"] == "segment"


def test_the_library_has_a_name_or_none() -> None:
    assert sent(library_name="analytics.js", library_version="2")["mp_lib"] == "Segment Actions: analytics.js"
    assert "mp_lib" not in sent(library_version="2")


def test_a_browser_that_nobody_knows_is_empty_and_without_a_version() -> None:
    found = sent(userAgent="curl/8.5")
    assert found["$browser"] == ""
    assert "$browser_version" not in found


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("2026-01-15T10:20:30.123Z", 1_768_472_430_123),
        ("2026-01-15", 1_768_435_200_000),
        (1_768_472_430, 1_768_472_430_000),
        (1_768_472_430.5, 1_768_472_430_500),
        (1_768_472_430_123, 1_768_472_430_123),
        ("1768472430", 1_768_472_430_000),
        ("yesterday", NOW),
        ("nan", NOW),
        (float("nan"), NOW),
        (float("inf"), NOW),
        (None, NOW),
    ],
)
def test_times_are_milliseconds_and_what_is_none_is_now(value: Any, ms: int) -> None:
    assert milliseconds(value, NOW) == ms


# -- $insert_id ------------------------------------------------------------------------------------------------


def test_an_id_that_fits_is_sent_as_it_is() -> None:
    assert insert_id(UUID) == UUID
    assert len(UUID) == 36


@pytest.mark.parametrize("text", ["x" * 37, "a_b", "a b", "é", "a\n", "٣"])
def test_another_one_becomes_the_beginning_of_its_sha_256(text: str) -> None:
    assert insert_id(text) == hashlib.sha256(text.encode()).hexdigest()[:36]


@given(st.text(min_size=1))
def test_every_id_fits_and_is_the_same_every_time(text: str) -> None:
    found = insert_id(text)
    assert re.fullmatch("[A-Za-z0-9-]{1,36}", found)
    assert insert_id(text) == found


def test_an_event_without_an_id_gets_the_same_one_at_every_try() -> None:
    event = Track(event="Song Played", distinct_id="u1", event_properties={"title": "Blue Train"})
    first = event_properties(event, None, NOW)
    assert event_properties(event, "web", NOW + 60_000)["$insert_id"] == first["$insert_id"]
    assert sent(insert_id=None)["$insert_id"] != first["$insert_id"]


# -- purchases -------------------------------------------------------------------------------------------------


def purchase(number: int = 2, **more: Any) -> Purchase:
    products = [{"product_id": f"p{at}", "price": 10.0} for at in range(number)]
    own = {"order_id": "o1", "total": 30, "coupon": "SPRING", "currency": "USD", "products": products}
    fields = {"event": "Order Completed", "insert_id": UUID, "time": NOW, "event_properties": own}
    return Purchase(**{**fields, "products": products, **more})


def test_each_product_is_an_event_of_its_own_a_millisecond_before_the_last() -> None:
    order, first, second = events(purchase(), "web", NOW)
    assert order["event"] == "Order Completed"
    assert order["properties"]["products"] == [
        {"product_id": "p0", "price": 10},
        {"product_id": "p1", "price": 10},
    ]
    assert [each["event"] for each in (first, second)] == ["Product Purchased"] * 2
    assert [each["properties"]["time"] for each in (first, second)] == [NOW - 1, NOW - 2]
    assert [each["properties"]["product_id"] for each in (first, second)] == ["p0", "p1"]
    shared = first["properties"]
    assert shared["order_id"] == "o1"
    assert not {"total", "coupon", "currency", "products"} & set(shared)


def test_a_prefix_that_makes_the_id_too_long_is_treated_as_any_such_id() -> None:
    ids = [each["properties"]["$insert_id"] for each in events(purchase(11), None, NOW)]
    assert ids[0] == UUID
    assert ids[1] == hashlib.sha256(f"0{UUID}".encode()).hexdigest()[:36]
    assert len(set(ids)) == 12
    short = events(purchase(insert_id="m1"), None, NOW)
    assert [each["properties"]["$insert_id"] for each in short] == ["m1", "0m1", "1m1"]


def test_products_stay_in_the_order_alone_where_that_is_wanted() -> None:
    assert len(events(purchase(generatePurchaseEventPerProduct=False), None, NOW)) == 1
    assert len(events(purchase(products=None), None, NOW)) == 1


def test_a_products_own_keys_go_over_the_orders() -> None:
    product = dict.fromkeys(Product.__struct_fields__, 1) | {"colour": "red", "order_id": "own"}
    (_, found) = events(purchase(products=[product]), None, NOW)
    assert {key: found["properties"][key] for key in product} == product


# -- profiles and groups ---------------------------------------------------------------------------------------


def test_traits_that_mixpanel_knows_have_names_of_its_own() -> None:
    traits = {
        "created": "", "createdAt": "2024-05-01", "email": "ada@example.com", "firstName": "Ada",
        "lastName": "Byron", "username": "ada", "phone": None, "plan": "pro",
    }  # fmt: skip
    assert profile(traits) == {
        "$created": "2024-05-01", "$email": "ada@example.com", "$first_name": "Ada", "$last_name": "Byron",
        "$name": "Ada Byron", "$username": "ada", "$phone": None, "plan": "pro",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("traits", "name"),
    [
        ({"name": "A"}, "A"),
        ({"name": "A", "firstName": "B", "lastName": "C"}, "A"),
        ({"firstName": "B"}, None),
    ],
)
def test_a_name_is_made_of_two_only_where_there_is_none(traits: dict[str, Any], name: str | None) -> None:
    assert profile(traits).get("$name") == name


def test_a_group_has_a_name_and_a_beginning() -> None:
    traits = {"name": "Acme", "created_at": 1, "email": "a@example.com"}
    assert group(traits) == {"$name": "Acme", "$created": 1, "email": "a@example.com"}
