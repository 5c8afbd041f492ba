"""What GA4 takes at most, and the names that it keeps for itself.

Google drops what is too much without a word, so it is cut here, and `notes` tell what was. Source: spec/destinations.md
§1.2.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import dropwhile
from typing import Any, Final

import msgspec

from cdpd.destinations.actions import PayloadValidationError, size_of
from cdpd_google_analytics_4.payloads import PromotedItem

MOST_PARAMETERS: Final = 25
MOST_PROPERTIES: Final = 25
MOST_ITEMS: Final = 200
LARGEST_BODY: Final = 130_000
LONGEST_NAME: Final = 40
LONGEST_PROPERTY: Final = (24, 36)
"""Of a user property: name, value."""
_LONGEST_OF: Final = {"page_title": 300, "page_referrer": 420, "page_location": 1000}
"""Parameters whose values may be longer."""

_EVENTS: Final = """
    ad_activeview ad_click ad_exposure ad_query ad_reward adunit_exposure app_clear_data app_exception app_install
    app_remove app_store_refund app_update app_upgrade dynamic_link_app_open dynamic_link_app_update
    dynamic_link_first_open error firebase_campaign first_open first_visit in_app_purchase notification_dismiss
    notification_foreground notification_open notification_receive notification_send os_update screen_view
    session_start user_engagement
"""
RESERVED_EVENTS: Final = frozenset(_EVENTS.split())
RESERVED_PROPERTIES: Final = frozenset(
    ("first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id", "first_open_after_install")
)
RESERVED_PREFIXES: Final = ("_", "firebase_", "ga_", "google_", "gtag.")
_ITEM_KEYS: Final = frozenset(field.name for field in msgspec.structs.fields(PromotedItem))


class Limits(msgspec.Struct, frozen=True):
    """Those that differ between the editions."""

    longest_value: int = 100
    most_item_parameters: int = 10
    """Of one's own, beside Google's."""


STANDARD: Final = Limits()
ANALYTICS_360: Final = Limits(500, 27)


def cleaned(name: str) -> str:
    """With `_` for all but letters (and their marks), digits and `_`."""
    return "".join(c if unicodedata.category(c)[0] in "LMN" else "_" for c in name)


def event_name(name: str, lowercase: bool, app: bool, notes: list[str]) -> str:
    """The name of a custom event as Google takes it. Raises PayloadValidationError for one that it never takes."""
    given = re.sub(r"\s", "_", name.strip())
    given = given.lower() if lowercase else given
    made = "".join(dropwhile(lambda letter: not letter.isalpha(), cleaned(given)))
    reserved = made in RESERVED_EVENTS and not (app and made == "screen_view")
    if reserved or made.startswith("firebase_in_app_message_"):
        where = " (on web streams)" if made == "screen_view" else ""
        raise PayloadValidationError(f"name: Google keeps the event name {made} for itself{where}")
    if not made:
        raise PayloadValidationError(f'name: "{name[:60]}" has no letter to begin with')
    if made[:LONGEST_NAME] != given:
        notes.append(f'the event "{name[:60]}" is sent as {made[:LONGEST_NAME]}')
    return made[:LONGEST_NAME]


def parameters(given: Mapping[str, Any], limits: Limits, notes: list[str]) -> dict[str, Any]:
    """The parameters of an event, as many and as long as Google takes them."""
    allowed = _allowed(given, (), LONGEST_NAME, notes)
    kept: dict[str, Any] = {}
    for name, value in _first(allowed, MOST_PARAMETERS, "parameter", notes):
        if name == "items" and isinstance(value, list):
            kept[name] = _items(value, limits, notes)
        else:
            kept[name] = _cut(name, value, _LONGEST_OF.get(name, limits.longest_value), notes)
    return kept


def user_properties(given: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """The user's properties, as many and as long as Google takes them."""
    longest_name, longest = LONGEST_PROPERTY
    allowed = _allowed(given, RESERVED_PROPERTIES, longest_name, notes)
    return {
        name: _cut(name, value, longest, notes)
        for name, value in _first(allowed, MOST_PROPERTIES, "user property", notes)
    }


def fit(body: Mapping[str, Any], notes: list[str]) -> None:
    """Take items off the end until the request is small enough; nothing else in it can be long."""
    for event in body["events"]:
        items = event["params"].get("items")
        while isinstance(items, list) and items and size_of(body) > LARGEST_BODY:
            notes.append("items are left out: the request would be larger than 130 kB")
            del items[len(items) * 9 // 10 :]


def _items(given: Iterable[Any], limits: Limits, notes: list[str]) -> list[dict[str, Any]]:
    items = [item for item in given if isinstance(item, dict)]
    if len(items) > MOST_ITEMS:
        notes.append(f"items beyond the first {MOST_ITEMS} are left out")
    return [_item(item, limits, notes) for item in items[:MOST_ITEMS]]


def _item(given: Mapping[str, Any], limits: Limits, notes: list[str]) -> dict[str, Any]:
    flat = {name: value for name, value in given.items() if not isinstance(value, dict | list | None)}
    if len(flat) < len(given):
        notes.append("lists, objects and nulls inside of items are left out")
    known = {name: value for name, value in flat.items() if name in _ITEM_KEYS}
    more = _allowed({name: flat[name] for name in flat if name not in known}, (), LONGEST_NAME, notes)
    own = _first(more, limits.most_item_parameters, "parameter of an item", notes)
    return {
        name: _cut(name, value, limits.longest_value, notes) for name, value in {**known, **dict(own)}.items()
    }


def _allowed(
    given: Mapping[str, Any], reserved: Iterable[str], longest: int, notes: list[str]
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in given.items():
        if name.startswith(RESERVED_PREFIXES) or name in reserved:
            notes.append(f"{name[:longest]} is left out: Google keeps that name for itself")
            continue
        if len(name) > longest:
            notes.append(f"the name {name[:longest]}… is cut at {longest} characters")
        kept.setdefault(name[:longest], value)
    return kept


def _first(given: Mapping[str, Any], most: int, what: str, notes: list[str]) -> list[tuple[str, Any]]:
    members = list(given.items())
    for name, _ in members[most:]:
        notes.append(f"the {what} {name} is left out: an event has at most {most}")
    return members[:most]


def _cut(name: str, value: Any, longest: int, notes: list[str]) -> Any:
    if not isinstance(value, str) or len(value) <= longest:
        return value
    notes.append(f"the value of {name} is cut at {longest} characters")
    return value[:longest]
