"""Names and values are cut to what Google takes, whatever comes."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from cdpd.destinations.actions import PayloadValidationError, size_of
from cdpd_google_analytics_4.body import flat
from cdpd_google_analytics_4.limits import (
    ANALYTICS_360,
    LARGEST_BODY,
    MOST_ITEMS,
    RESERVED_EVENTS,
    RESERVED_PREFIXES,
    STANDARD,
    cleaned,
    event_name,
    fit,
    parameters,
    user_properties,
)

SCALARS = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text()
NAMES = some.text(max_size=60) | some.text(string.ascii_lowercase + "_. ", max_size=60)
NESTED = some.recursive(
    SCALARS,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
PARAMS = some.dictionaries(NAMES | some.sampled_from(["items", "page_title", "ga_x"]), NESTED, max_size=40)


@settings(deadline=None)
@given(PARAMS)
def test_flattened_parameters_are_scalars_and_flattening_them_again_changes_nothing(
    params: dict[str, Any],
) -> None:
    found = flat(params)
    for name, value in found.items():
        assert isinstance(value, str | int | float) or (
            name == "items" and any(isinstance(i, dict) for i in value)
        )
        assert name == cleaned(name) or name.startswith(RESERVED_PREFIXES)
    assert flat(found) == found


@settings(deadline=None)
@given(PARAMS, some.sampled_from([STANDARD, ANALYTICS_360]))
def test_parameters_are_never_too_many_too_long_or_reserved(params: dict[str, Any], limits: Any) -> None:
    notes: list[str] = []
    kept = parameters(flat(params), limits, notes)
    assert len(kept) <= 25
    for name, value in kept.items():
        assert len(name) <= 40
        assert not name.startswith(RESERVED_PREFIXES)
        if isinstance(value, str):
            assert len(value) <= max(limits.longest_value, {"page_title": 300}.get(name, 0))
    if not notes and "items" not in params:
        assert kept == flat(params)


@settings(deadline=None)
@given(some.dictionaries(NAMES, SCALARS, max_size=40))
def test_user_properties_are_never_too_many_too_long_or_reserved(given_: dict[str, Any]) -> None:
    kept = user_properties(given_, [])
    assert len(kept) <= 25
    for name, value in kept.items():
        assert len(name) <= 24
        assert name != "user_id"
        assert not name.startswith(RESERVED_PREFIXES)
        assert not isinstance(value, str) or len(value) <= 36


@settings(deadline=None)
@given(some.text(max_size=80), some.booleans(), some.booleans())
def test_an_event_has_a_good_name_or_is_refused(name: str, lowercase: bool, app: bool) -> None:
    notes: list[str] = []
    try:
        made = event_name(name, lowercase, app, notes)
    except PayloadValidationError:
        return
    assert made[0].isalpha()
    assert len(made) <= 40
    assert made == cleaned(made)
    assert made not in RESERVED_EVENTS or (app and made == "screen_view")


@pytest.mark.parametrize(
    ("name", "made", "told"),
    [
        ("Song Played", "Song_Played", False),
        (" a\tb  c ", "a_b__c", False),
        ("สั่งซื้อ", "สั่งซื้อ", False),
        ("Gekauft: Müsli", "Gekauft__Müsli", True),
        ("2nd Purchase", "nd_Purchase", True),
        ("x" * 50, "x" * 40, True),
    ],
)
def test_event_names_are_mended(name: str, made: str, told: bool) -> None:
    notes: list[str] = []
    assert event_name(name, False, False, notes) == made
    assert bool(notes) is told


@pytest.mark.parametrize(
    "name", [*sorted(RESERVED_EVENTS), "session-start", "_ad click", "firebase_in_app_message_x"]
)
def test_reserved_event_names_are_refused(name: str) -> None:
    with pytest.raises(PayloadValidationError, match="Google keeps the event name"):
        event_name(name, False, False, [])


def test_pages_may_have_longer_values() -> None:
    long = "x" * 2000
    given_ = dict.fromkeys(("page_title", "page_referrer", "page_location", "page_path"), long)
    kept = parameters(given_, STANDARD, [])
    assert [len(value) for value in kept.values()] == [300, 420, 1000, 100]
    assert len(parameters({"note": long}, ANALYTICS_360, [])["note"]) == 500


def test_items_keep_googles_own_keys_and_ten_of_ones_own() -> None:
    own = {f"own_{n}": n for n in range(30)}
    item = {"item_id": "1", "price": 2, "deep": {"a": 1}, "none": None, "_x": 1, **own}
    notes: list[str] = []
    kept = parameters({"items": [item, "no object"]}, STANDARD, notes)["items"]
    assert kept == [{"item_id": "1", "price": 2, **{f"own_{n}": n for n in range(10)}}]
    assert any("lists, objects and nulls" in note for note in notes)
    assert len(parameters({"items": [item]}, ANALYTICS_360, [])["items"][0]) == 2 + 27


def test_items_that_are_texts_are_a_parameter_like_others() -> None:
    assert flat({"items": ["mug", "cup", 2]}) == {"items": "mug,cup,2"}
    assert flat({"items": [{"item_id": "p-1"}]}) == {"items": [{"item_id": "p-1"}]}


def test_there_are_at_most_200_items_and_130_kb() -> None:
    item = {f"item_category{n}": "x" * 100 for n in ("", 2, 3, 4, 5)} | {
        "item_name": "y" * 100,
        "item_id": "1",
    }
    notes: list[str] = []
    kept = parameters({"items": [item] * 300}, STANDARD, notes)
    assert len(kept["items"]) == MOST_ITEMS
    body = {"events": [{"name": "purchase", "params": kept}]}
    assert size_of(body) > LARGEST_BODY
    fit(body, notes)
    assert LARGEST_BODY * 0.8 < size_of(body) <= LARGEST_BODY
    assert any("130 kB" in note for note in notes)
