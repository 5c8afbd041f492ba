"""A record of a MaxMind DB as what stands in `context`. Whatever is missing or of another type is left out."""

from __future__ import annotations

from typing import Any


def location(record: dict[str, Any], language: str, codes: bool) -> dict[str, Any]:
    """`country`, `region` (the largest one), `city`, `latitude`, `longitude`; `codes`: the first two by ISO 3166."""
    regions = record.get("subdivisions")
    region = regions[0] if isinstance(regions, list) and regions else None
    point = _dict(record.get("location"))
    found: dict[str, Any] = {
        "country": _code(record.get("country")) if codes else _name(record.get("country"), language),
        "region": _code(region) if codes else _name(region, language),
        "city": _name(record.get("city"), language),
    }
    latitude, longitude = point.get("latitude"), point.get("longitude")
    if isinstance(latitude, float | int) and isinstance(longitude, float | int):
        found |= {"latitude": latitude, "longitude": longitude}
    return {key: value for key, value in found.items() if value not in (None, "")}


def timezone(record: dict[str, Any]) -> str:
    """tzdata name; "" where there is none."""
    name = _dict(record.get("location")).get("time_zone")
    return name if isinstance(name, str) else ""


def network(record: dict[str, Any]) -> dict[str, Any]:
    """`asn`, `organization`"""
    number, name = record.get("autonomous_system_number"), record.get("autonomous_system_organization")
    found: dict[str, Any] = {}
    if isinstance(number, int):
        found["asn"] = number
    if isinstance(name, str) and name:
        found["organization"] = name
    return found


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _name(place: Any, language: str) -> Any:
    names = _dict(_dict(place).get("names"))
    name = names.get(language) or names.get("en")
    return name if isinstance(name, str) else None


def _code(place: Any) -> Any:
    code = _dict(place).get("iso_code")
    return code if isinstance(code, str) else None
