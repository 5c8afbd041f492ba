"""The `integrations` object: spec/connections.md §4, ACCEPTANCE 1 to 4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cdpd import metrics as names
from cdpd.delivery.integrations import Decision, decide, decide_warehouse, unknown_names
from cdpd.delivery.route import NOT_CONNECTED, Router
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import Delivered
from cdpd.event import SET, TYPES
from tests.delivery.rig import Rig


def decided(integrations: Any, name: str = "Webhook", **how: bool) -> Decision:
    return decide(None if integrations is ... else json.dumps(integrations).encode(), name, **how)


@pytest.mark.parametrize("every", [..., True, None, "yes", {"a": 1}])
@pytest.mark.parametrize(
    ("own", "sent"),
    [
        (False, False),
        (True, True),
        ({}, True),
        ({"k": 1}, True),
        (None, True),
        ("no", True),
        (0, True),
        (..., True),
    ],
)
def test_an_entry_of_its_own_decides_where_all_does_not_say_no(own: Any, every: Any, sent: bool) -> None:
    table = {key: value for key, value in {"Webhook": own, "All": every}.items() if value is not ...}
    assert decided(table).send is sent


@pytest.mark.parametrize(
    ("own", "sent"),
    [
        (False, False),
        (True, True),
        ({}, True),
        ({"k": 1}, True),
        (None, False),
        ("no", False),
        (1, False),
        (..., False),
    ],
)
def test_with_all_off_only_true_or_an_object_sends(own: Any, sent: bool) -> None:
    table = {key: value for key, value in {"Webhook": own, "All": False}.items() if value is not ...}
    assert decided(table).send is sent


@pytest.mark.parametrize("nothing", [..., {}, {"All": True}, None, [], "x", 7, [{"All": False}]])
def test_where_it_says_nothing_the_destinations_own_default_holds(nothing: Any) -> None:
    assert decided(nothing).send
    assert not decided(nothing, opt_in=True).send


def test_an_opt_in_destination_is_sent_to_where_it_is_named() -> None:
    assert decided({"Webhook": True}, opt_in=True).send
    assert decided({"Webhook": {}}, opt_in=True).send
    assert not decided({"Webhook": None}, opt_in=True).send


def test_names_are_exact() -> None:
    assert not decided({"webhook": True, "All": False}).send
    assert decided({"webhook": False}).send
    assert decided({"all": False}).send, "All is spelt All"


def test_the_object_is_handed_on_as_it_stands() -> None:
    decision = decide(b'{"Webhook":{"k":1.10,"k2":{}}}', "Webhook")
    assert decision.options is not None
    assert bytes(decision.options) == b'{"k":1.10,"k2":{}}'
    assert decided({"Webhook": True}).options is None


def test_the_schema_filter_is_overridden_only_by_an_explicit_entry() -> None:
    assert not decided(..., schema_off=True).send
    assert not decided({"All": True}, schema_off=True).send
    assert not decided({"Webhook": None}, schema_off=True).send
    assert decided({"Webhook": True}, schema_off=True).send
    assert decided({"Webhook": {"k": 1}}, schema_off=True).send


@pytest.mark.parametrize(
    ("integrations", "sent"),
    [
        (..., True),
        ({"All": False}, True),
        ({"All": False, "Webhook": True}, True),
        ({"All": True, "Warehouses": {"all": False}}, False),
        ({"Warehouses": False}, False),
        ({"Warehouses": {"all": True}}, True),
        ({"Warehouses": {"warehouseIds": ["w1"]}}, True),
        ({"Warehouses": {"warehouseIds": ["w2"]}}, False),
        ({"Warehouses": {"warehouseIds": ["w1"], "all": False}}, True),
        ({"Warehouses": {"warehouseIds": ["w2"], "all": True}}, False),
        ({"Warehouses": True}, True),
        ({"Warehouses": {}}, True),
    ],
)
def test_a_warehouse_obeys_only_warehouses(integrations: Any, sent: bool) -> None:
    text = None if integrations is ... else json.dumps(integrations).encode()
    assert decide_warehouse(text, "w1") is sent


@pytest.mark.parametrize("integrations", [None, {"All": True}, {"Webhook": True}, {"Nobody": True}])
def test_an_object_goes_to_no_event_destination_and_is_not_counted(integrations: Any) -> None:
    router = Router(
        name="Webhook",
        sources=["website"],
        supports=[*TYPES, SET],
        opt_in=False,
        obeys_integrations=True,
        ordering="user",
        known=[],
    )
    line = {
        "type": "set",
        "projectId": "website",
        "collection": "rooms",
        "id": "1",
        "integrations": integrations,
    }
    route = router.route(json.dumps(line, separators=(",", ":")).encode())
    assert (route.skip, route.unknown, route.is_object) == (NOT_CONNECTED, 0, True)


def test_names_that_nothing_has_are_counted() -> None:
    text = b'{"All":true,"Warehouses":{},"Segment.io":{},"Webhook":true,"Mixpanel":false,"Amplitude":true}'
    assert unknown_names(text, {"Webhook"}) == 2
    assert unknown_names(b"[]", {"Webhook"}) == 0


async def test_only_what_is_meant_for_it_reaches_a_destination_and_each_skip_is_counted(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    seen: list[dict[str, Any]] = []

    def take(batch: Batch) -> list[Delivered]:
        seen.extend(event.options.plain() for event in batch.events)
        return [Delivered()] * len(batch.events)

    rig.scripted(take, name="Webhook", supports=frozenset({"track", "identify"}))
    rig.kinds["other"] = type("Other", (rig.kinds["null"],), {"name": "Other"})
    async with rig.running(
        d={"type": "scripted", "sources": ["website"]}, other={"type": "other"}, n={"type": "null"}
    ):
        await rig.append(
            {},
            {"integrations": {"All": False}},
            {"integrations": {"All": False, "Webhook": True, "Nobody": True}},
            {"integrations": {"webhook": True, "All": False}},
            {"integrations": {"Webhook": {"k": 1}}},
            {"projectId": "app"},
            {"type": "page"},
            {"type": "page", "integrations": {"All": False}},
        )
        await rig.append({"integrations": {"Webhook": {}}})
        await rig.settle()
        await rig.settle("other")
    assert rig.sent == ["m0", "m2", "m4", "m8"]
    assert seen == [{}, {}, {"k": 1}, {}]
    assert rig.metrics.get(names.SKIPPED, "d", "FILTERED_BY_INTEGRATIONS_OBJECT") == 3
    assert rig.metrics.get(names.SKIPPED, "d", "UNSUPPORTED_EVENT_TYPE") == 1
    assert rig.metrics.get(names.NOTED, "UNKNOWN_INTEGRATION") == 2, (
        "each unknown name once, whoever reads it"
    )


async def test_an_archive_gets_what_the_object_forbids(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(obeys_integrations=False)
    async with rig.running(d={"type": "scripted"}):
        await rig.append({"integrations": {"All": False}}, {"integrations": {"Scripted": False}})
        await rig.settle()
    assert rig.sent == ["m0", "m1"]
