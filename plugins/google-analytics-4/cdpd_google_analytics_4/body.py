"""The body of a request, made of a payload: what Google refuses, or drops without a word, is told before it is sent.

Pure. Source: spec/destinations.md §1.1, §1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cdpd.destinations.actions import PayloadValidationError, parse_time, to_json
from cdpd_google_analytics_4.currencies import is_currency
from cdpd_google_analytics_4.limits import (
    RESERVED_PREFIXES,
    Limits,
    cleaned,
    fit,
    parameters,
    user_properties,
)
from cdpd_google_analytics_4.payloads import CamelHit, ShopHit
from cdpd_google_analytics_4.shop import Kind

Json = dict[str, Any]

OLDEST_MS: Final = 72 * 3600 * 1000
"""Milliseconds back from now."""
TOO_OLD: Final = "too old for GA4"
_DIGITS: Final = re.compile(r"[0-9]{1,20}")


def body_of(
    hit: ShopHit | CamelHit, event: str, own: Mapping[str, Any], limits: Limits, notes: list[str]
) -> Json:
    """The body but for its time. `own`: the action's parameters. Raises PayloadValidationError."""
    if hit.data_stream_type == "Web":
        body: Json = {"client_id": _needed(hit.client_id, "client_id")}
    else:
        body = {"app_instance_id": _needed(hit.app_instance_id, "app_instance_id")}
    if hit.user_id is not None:
        body["user_id"] = hit.user_id
    params = {**_some(own), **_some({"engagement_time_msec": hit.engagement_time_msec}), **_params(hit)}
    body["events"] = [{"name": event, "params": parameters(params, limits, notes)}]
    if hit.user_properties:
        properties = user_properties(_checked(hit.user_properties), notes)
        body["user_properties"] = {name: {"value": value} for name, value in properties.items()}
    consent = {"ad_user_data": hit.ad_user_data_consent, "ad_personalization": hit.ad_personalization_consent}
    if _some(consent):
        body["consent"] = _some(consent)
    fit(body, notes)
    return body


def micros_of(hit: ShopHit | CamelHit) -> int | None:
    """When it happened, in microseconds. Raises PayloadValidationError."""
    text = hit.timestamp_micros
    if text is None:
        return None
    if _DIGITS.fullmatch(text):
        return int(text)
    ms = parse_time(text)
    if ms is None:
        raise PayloadValidationError("timestamp_micros: an ISO 8601 time or microseconds are expected")
    return ms * 1000


def shop_parameters(kind: Kind, hit: ShopHit) -> Json:
    """The own parameters of an action of the table, in its order. Raises PayloadValidationError."""
    own = {parameter.name: getattr(hit, parameter.name) for parameter in kind.own}
    items: Sequence[Json] = own.get("items") or ()
    if not items and not kind.empty_items:
        raise PayloadValidationError("items: at least one is needed")
    for at, item in enumerate(items):
        if item.get("item_id") is None and item.get("item_name") is None:
            raise PayloadValidationError(f"items[{at}]: item_id or item_name is needed")
        _check_currency(item.get("currency"), f"items[{at}].currency")
    currency = own.get("currency")
    _check_currency(currency, "currency")
    if currency is None and kind.currency:
        if own.get("value"):
            raise PayloadValidationError("currency is needed where there is a value")
        if kind.currency == "always" and not (items and items[0].get("currency")):
            raise PayloadValidationError("currency is needed, here or at the first of the items")
    return own


def flat(params: Mapping[str, Any]) -> Json:
    """Parameters as Google takes them: nested objects as `a_b`, lists of scalars joined by commas, names of letters,
    digits and `_`; the first of equal names stays. Left out: nulls, and objects within lists. `items` that are objects
    stay a list."""
    found: Json = {}
    for name, value in params.items():
        if name == "items" and isinstance(value, list) and any(isinstance(item, dict) for item in value):
            found.setdefault(name, value)
        else:
            for leaf, scalar in _leaves(name, value):
                reserved = leaf.startswith(RESERVED_PREFIXES)
                found.setdefault(leaf if reserved else cleaned(leaf), scalar)
    return found


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(f"{name}_{key}", item)
    elif isinstance(value, list):
        texts = [
            item if isinstance(item, str) else to_json(item).decode()
            for item in value
            if not isinstance(item, dict | list | None)
        ]
        if texts:
            yield name, ",".join(texts)
    elif value is not None:
        yield name, value


def _params(hit: ShopHit | CamelHit) -> Json:
    if hit.params is None:
        return {}
    if hit.flatten_params:
        return flat(hit.params)
    for name, value in hit.params.items():
        if value is None or isinstance(value, dict) or (isinstance(value, list) and name != "items"):
            raise PayloadValidationError(
                f"params: the parameter {name} is {_what(value)}: Google takes texts and numbers; see flatten_params"
            )
    return hit.params


def _checked(given: Json) -> Json:
    for name, value in given.items():
        if isinstance(value, dict | list):
            raise PayloadValidationError(
                f"user_properties: {name} is {_what(value)}: Google takes texts and numbers"
            )
    return given


def _what(value: Any) -> str:
    return "null" if value is None else "an object" if isinstance(value, dict) else "a list"


def _check_currency(code: Any, place: str) -> None:
    if code is not None and not is_currency(str(code)):
        raise PayloadValidationError(f'{place}: "{str(code)[:20]}" is no currency of ISO 4217')


def _needed(value: str | None, name: str) -> str:
    if value is None:
        raise PayloadValidationError(f"{name} is missing")
    return value


def _some(given: Mapping[str, Any]) -> Json:
    return {name: value for name, value in given.items() if value is not None}
