"""Events as Mixpanel's import takes them, made of payloads. Source: spec/destinations.md §2.2, §2.4, §2.5."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from cdpd.destinations.actions import parse_time, to_json
from cdpd_mixpanel.browser import browser, browser_version
from cdpd_mixpanel.payloads import Purchase, Track

Json = dict[str, Any]

_IGNORED: Final = frozenset(("time", "id", "$anon_id", "distinct_id", "$group_id", "$insert_id", "$user_id"))
"""Keys of an event's own properties that would hide ours."""
_NOT_OF_PRODUCTS: Final = frozenset(
    (
        "affiliation", "subtotal", "total", "revenue", "shipping", "tax", "discount", "coupon", "currency",
        "order_number", "products",
    )
)  # fmt: skip
_DIGITS: Final = re.compile(r"-?\d{1,16}(\.\d+)?", re.ASCII)
_CREATED: Final = ("created", "createdAt", "created_at")
_OF_PEOPLE: Final = {
    "email": "$email",
    "firstName": "$first_name",
    "lastName": "$last_name",
    "name": "$name",
    "username": "$username",
    "phone": "$phone",
}
"""Traits that Mixpanel knows by names of its own."""
_INSERT_ID: Final = re.compile(r"[A-Za-z0-9-]{1,36}")


def events(of: Track, source_name: str | None, now_ms: int) -> list[Json]:
    """The elements that a payload becomes: one; of a purchase one more for each product."""
    properties = event_properties(of, source_name, now_ms)
    found = [{"event": of.event, "properties": properties}]
    if isinstance(of, Purchase) and of.generatePurchaseEventPerProduct:
        shared = {key: value for key, value in properties.items() if key not in _NOT_OF_PRODUCTS}
        original = of.insert_id or properties["$insert_id"]
        for number, product in enumerate(of.products or ()):
            own = {"$insert_id": insert_id(f"{number}{original}"), "time": properties["time"] - (number + 1)}
            found.append({"event": "Product Purchased", "properties": {**shared, **own, **product}})
    return found


def event_properties(of: Track, source_name: str | None, now_ms: int) -> Json:
    agent = of.userAgent
    hints = of.userAgentData or {}
    found: Json = {
        "time": milliseconds(of.time, now_ms),
        "ip": of.ip,
        "id": of.distinct_id,
        "distinct_id": of.distinct_id or "",
        "$anon_id": of.anonymous_id,
        "$device_id": of.anonymous_id,
        "$user_id": of.user_id,
        "$identified_id": of.user_id,
        "$group_id": of.group_id,
        "$app_build_number": of.app_build,
        "$app_version_string": of.app_version,
        "$app_namespace": of.app_namespace,
        "$app_name": of.app_name,
        "$browser": None if agent is None else browser(agent),
        "$browser_version": None if agent is None else browser_version(agent),
        "$bluetooth_enabled": of.bluetooth,
        "$cellular_enabled": of.cellular,
        "$wifi_enabled": of.wifi,
        "$carrier": of.carrier,
        "$current_url": of.url,
        "$referrer": of.referrer,
        "$device": of.device_name,
        "$device_name": of.device_name,
        "$device_type": of.device_type,
        "$manufacturer": of.device_manufacturer,
        "$model": of.device_model,
        "$ios_ifa": of.idfa,
        "$lib_version": of.library_version,
        "mp_lib": f"Segment Actions: {of.library_name}" if of.library_name else None,
        "$locale": of.language,
        "mp_country_code": of.country,
        "$os": of.os_name,
        "$os_version": of.os_version,
        "$screen_height": of.screen_height,
        "$screen_width": of.screen_width,
        "$screen_density": of.screen_density,
        "$source": "Iterable" if _integration(of.context) == "Iterable" else "segment",
        "segment_source_name": source_name,
        **(of.utm_properties or {}),
        "advertising_id": of.advertising_id,
        "ad_tracking_enabled": of.ad_tracking_enabled,
        "timezone": of.timezone,
        "app_platform": of.app_platform,
        "event_original_name": of.name,
        **{f"${name}": value for name, value in hints.items() if name not in ("architecture", "model")},
    }
    found = {key: value for key, value in found.items() if value is not None}
    own = {key: value for key, value in (of.event_properties or {}).items() if key not in _IGNORED}
    # What has no id gets one made of itself, the same at every try (and with every "now").
    return {**found, "$insert_id": insert_id(of.insert_id or to_json(of).decode()), **own}


def insert_id(text: str) -> str:
    """As it is where Mixpanel takes it; else made of its SHA-256."""
    if _INSERT_ID.fullmatch(text):
        return text
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:36]


def milliseconds(value: str | int | float | None, now_ms: int) -> int:
    """A time as milliseconds since the epoch; now where there is none."""
    found = parse_time(value)
    if found is None and isinstance(value, str) and _DIGITS.fullmatch(value):
        found = parse_time(float(value))
    return now_ms if found is None else found


def profile(traits: Json) -> Json:
    """`$set` of a person."""
    first, last = traits.get("firstName"), traits.get("lastName")
    if first and last and not traits.get("name"):
        traits = {**traits, "name": f"{first} {last}"}
    return _renamed(traits, _OF_PEOPLE)


def group(traits: Json) -> Json:
    """`$set` of a group."""
    return _renamed(traits, {"name": "$name"})


def _renamed(traits: Json, names: dict[str, str]) -> Json:
    kept = {names.get(key, key): value for key, value in traits.items() if key not in _CREATED}
    created = next((traits[key] for key in _CREATED if traits.get(key)), None)
    return kept if created is None else {**kept, "$created": created}


def _integration(context: Json | None) -> Any:
    integration = (context or {}).get("integration")
    return integration.get("name") if isinstance(integration, dict) else None
