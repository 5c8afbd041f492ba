"""Operations of the Track API v2, made of payloads. Source: spec/destinations.md §4.2, §4.3."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd.testing import run_action
from cdpd_customerio import operation
from cdpd_customerio.destination import CustomerIO
from cdpd_customerio.payloads import ContentReport, Merge, ObjectKey, Profile, Relationship, Thing, Track


async def made(action: str, event: dict[str, Any], **mapping: Any) -> dict[str, Any]:
    """The operation that an action makes of an event."""
    acted = await run_action(CustomerIO, action, event, mapping=mapping)
    assert acted.outcome.kind == "delivered", acted
    (request,) = acted.requests
    assert request["url"] == "https://track.customer.io/api/v2/entity"
    found: dict[str, Any] = request["json"]
    return found


# -- who -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "identifiers"),
    [
        ({"id": "cio_0f2a", "email": "a@example.com"}, {"cio_id": "0f2a"}),
        ({"id": "ada@example.com", "email": "b@example.com"}, {"email": "ada@example.com"}),
        ({"id": "user-7", "email": "a@example.com", "anonymous_id": "anon-7"}, {"id": "user-7"}),
        ({"email": "a@example.com", "anonymous_id": "anon-7"}, {"email": "a@example.com"}),
        ({"anonymous_id": "anon-7"}, {"anonymous_id": "anon-7"}),
        ({}, None),
        ({"id": "not an@address"}, {"id": "not an@address"}),
        ({"id": "@"}, {"id": "@"}),
    ],
)
def test_a_person_is_named_by_the_first_of_these_that_is_there(
    fields: dict[str, str], identifiers: dict[str, str] | None
) -> None:
    assert operation.profile(Profile(**fields)).get("identifiers") == identifiers


@pytest.mark.parametrize(
    ("fields", "copied"),
    [({"id": "u", "anonymous_id": "a"}, True), ({"anonymous_id": "a"}, False), ({"id": "u"}, False)],
)
def test_the_anonymous_id_is_an_attribute_unless_it_is_who_is_meant(
    fields: dict[str, str], copied: bool
) -> None:
    for made in (operation.profile(Profile(**fields)), operation.event(Track(name="Song Played", **fields))):
        assert ("anonymous_id" in made["attributes"]) is copied


async def test_nothing_but_what_belongs_there_stands_at_the_top() -> None:
    event = {"type": "identify", "userId": "u1", "traits": {"email": "a@example.com"}}
    assert set(await made("createUpdatePerson", event)) == {
        "type", "action", "attributes", "timestamp", "identifiers",
    }  # fmt: skip


# -- people --------------------------------------------------------------------------------------------------


async def test_a_person_without_an_id_is_the_one_with_that_address() -> None:
    event = {"type": "identify", "anonymousId": "a1", "traits": {"email": "a@example.com", "plan": "pro"}}
    found = await made("createUpdatePerson", event)
    assert found["identifiers"] == {"email": "a@example.com"}
    assert found["attributes"] == {"email": "a@example.com", "plan": "pro", "anonymous_id": "a1"}


async def test_a_persons_own_keys_are_no_attributes_and_an_object_is_a_relationship() -> None:
    traits = {
        "created_at": "2025-11-02T08:00:00Z", "createdAt": "2020-01-01", "object_type_id": "2",
        "objectTypeId": "3", "objectId": "o1", "relationshipAttributes": {"role": "owner"},
    }  # fmt: skip
    found = await made("createUpdatePerson", {"type": "identify", "traits": traits})
    assert found["attributes"] == {"objectId": "o1", "created_at": 1_762_070_400}
    assert found["cio_relationships"] == [
        {
            "identifiers": {"object_type_id": "2", "object_id": "o1"},
            "relationship_attributes": {"role": "owner"},
        }
    ]
    found = await made("createUpdatePerson", {"type": "identify", "traits": {"objectId": "o1"}})
    assert found["cio_relationships"] == [{"identifiers": {"object_type_id": "1", "object_id": "o1"}}]


@pytest.mark.parametrize(
    ("action", "kind"),
    [("deletePerson", "delete"), ("suppressPerson", "suppress"), ("unsuppressPerson", "unsuppress")],
)
async def test_people_are_deleted_and_suppressed(action: str, kind: str) -> None:
    assert await made(action, {}) == {"type": "person", "action": kind, "identifiers": {"id": "u1"}}


def test_both_people_of_a_merge_are_named_by_the_same_rules() -> None:
    assert operation.merge(Merge(primary="cio_1", secondary="a@example.com")) == {
        "type": "person", "action": "merge", "primary": {"cio_id": "1"}, "secondary": {"email": "a@example.com"},
    }  # fmt: skip


async def test_a_device_is_deleted_by_its_token() -> None:
    event = {"event": "Device Deleted", "context": {"device": {"token": "t1", "type": "ios"}}}
    found = await made("deleteDevice", event)
    assert found == {
        "type": "person", "action": "delete_device", "device": {"token": "t1"}, "identifiers": {"id": "u1"},
    }  # fmt: skip


async def test_what_is_known_of_a_device_is_an_attribute() -> None:
    context = {"device": {"token": "t1", "type": "android"}, "app": {"version": "3.1"}}
    event = {"context": context, "properties": {"installed": "2026-01-01", "beta": True}}
    found = await made("createUpdateDevice", event)
    assert found["device"]["attributes"] == {"installed": 1_767_225_600, "beta": True, "app_version": "3.1"}


# -- events --------------------------------------------------------------------------------------------------


async def test_a_page_is_named_by_its_address() -> None:
    event = {"type": "page", "properties": {"url": "https://shop.example/mugs"}}
    found = await made("trackPageView", event)
    assert (found["action"], found["name"], found["id"]) == ("page", "https://shop.example/mugs", "m1")


async def test_a_page_without_an_address_is_refused() -> None:
    acted = await run_action(CustomerIO, "trackPageView", {"type": "page", "properties": {}})
    assert acted.outcome.kind == "bad_event"
    assert acted.requests == []


def test_content_that_was_seen_is_an_event_of_that_name() -> None:
    data = {"actionType": "viewed_content", "deliveryId": "d1"}
    report = ContentReport(actionType="viewed_content", anonymous_id="a1", data=data, timestamp="2026-01-15")
    assert operation.event(report) == {
        "type": "person", "action": "viewed_content", "name": "viewed_content",
        "attributes": {"deliveryId": "d1"}, "timestamp": 1_768_435_200, "identifiers": {"anonymous_id": "a1"},
    }  # fmt: skip


# -- objects -------------------------------------------------------------------------------------------------


async def test_a_group_without_object_attributes_has_its_traits() -> None:
    event = {"type": "group", "groupId": "g1", "traits": {"name": "Acme", "seats": 5}}
    found = await made("createUpdateObject", event)
    assert found == {
        "type": "object", "action": "identify", "attributes": {"name": "Acme", "seats": 5},
        "cio_relationships": [{"identifiers": {"id": "u1"}}],
        "identifiers": {"object_id": "g1", "object_type_id": "1"},
    }  # fmt: skip


async def test_a_groups_own_beginning_stands_at_the_top() -> None:
    traits = {"objectAttributes": {"name": "Acme"}, "createdAt": "2024-05-01T00:00:00Z", "objectTypeId": "2"}
    found = await made("createUpdateObject", {"type": "group", "groupId": "g1", "traits": traits})
    assert found["created_at"] == 1_714_521_600
    assert found["attributes"] == {"name": "Acme"}
    assert found["identifiers"] == {"object_id": "g1", "object_type_id": "2"}


def test_an_object_of_somebody_anonymous_is_another_kind_of_operation() -> None:
    found = operation.thing(Thing(id="g1", anonymous_id="a1"))
    assert found["action"] == "identify_anonymous"
    assert found["cio_relationships"] == [{"identifiers": {"anonymous_id": "a1"}}]
    assert found["attributes"] == {"anonymous_id": "a1"}
    assert operation.kind_of(Thing(id="g1")) == "identify"


def test_objects_and_relationships_are_deleted() -> None:
    assert operation.no_thing(ObjectKey(object_id="o1", object_type_id="2")) == {
        "type": "object", "action": "delete", "identifiers": {"object_id": "o1", "object_type_id": "2"},
    }  # fmt: skip
    assert operation.no_relationship(Relationship(person_id="u1", object_id="o1")) == {
        "type": "object",
        "action": "delete_relationships",
        "cio_relationships": [{"identifiers": {"id": "u1"}}],
        "identifiers": {"object_id": "o1", "object_type_id": "1"},
    }


# -- dates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-01-15T10:20:30.999Z", 1_768_472_430),
        ("2026-01-15", 1_768_435_200),
        ("2026-01-15T10:20+02:00", 1_768_465_200),
        ("1768472430", "1768472430"),
        ("1768472430.5", "1768472430.5"),
        (1768472430, 1768472430),
        ("yesterday", "yesterday"),
        (None, None),
    ],
)
def test_a_timestamp_is_seconds_and_a_number_stays(value: Any, seconds: Any) -> None:
    assert operation.seconds(value) == seconds


@pytest.mark.parametrize(
    ("value", "converted"),
    [
        ("2026-01-15T10:20:30Z", 1_768_472_430),
        ("2026-01-15T10:20:30.123456789+0100", 1_768_468_830),
        ("2026-01-15T10:20", 1_768_472_400),
        ("2026-01-15", 1_768_435_200),
        ("2026-13-45", "2026-13-45"),
        ("2026-01-15 10:20", "2026-01-15 10:20"),
        ("15 January 2026", "15 January 2026"),
        ("1768472430", "1768472430"),
        ("on 2026-01-15", "on 2026-01-15"),
        ("\u0662026-01-15", "\u0662026-01-15"),
    ],
)
def test_dates_in_attributes_are_seconds_at_any_depth_but_not_in_lists(value: str, converted: Any) -> None:
    data = {"a": value, "b": {"c": {"d": value}}, "e": [value, {"f": value}]}
    found = operation.event(Track(name="Song Played", data=data))["attributes"]
    assert found == {"a": converted, "b": {"c": {"d": converted}}, "e": [value, {"f": value}]}
    kept = operation.event(
        Track(name="Song Played", data=data, convert_timestamp=False, timestamp="2026-01-15")
    )
    assert kept["attributes"] == data
    assert kept["timestamp"] == 1_768_435_200, "that one always"


@given(st.text())
def test_any_text_is_a_date_or_stays(text: str) -> None:
    found = operation.event(Track(name="Song Played", data={"a": text}))["attributes"]["a"]
    assert found == text or isinstance(found, int)
