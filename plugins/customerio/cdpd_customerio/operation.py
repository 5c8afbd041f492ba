"""Operations of the Track API v2, made of payloads. Source: spec/destinations.md §4.2, §4.3."""

from __future__ import annotations

import re
from typing import Any, Final

from cdpd.destinations.actions import parse_time
from cdpd_customerio.payloads import (
    ContentReport,
    Device,
    DeviceKey,
    Event,
    Merge,
    ObjectKey,
    Page,
    Person,
    Profile,
    Relationship,
    Screen,
    Thing,
    Track,
)

Json = dict[str, Any]

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_NUMBER: Final = re.compile(r"\d+(\.\d+)?", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_NOT_ATTRIBUTES: Final = (
    "createdAt",
    "created_at",
    "object_type_id",
    "objectTypeId",
    "relationshipAttributes",
)


def person(of: Person, action: str) -> Json:
    """delete, suppress, unsuppress."""
    return _operation("person", action, _who(of.person_id))


def device(of: DeviceKey, action: str) -> Json:
    shown: Json = {"token": of.device_id}
    if isinstance(of, Device):
        attributes = {**(of.attributes or {}), **_some(app_version=of.app_version)}
        shown |= {"platform": of.platform, **_some(last_used=of.last_used), "attributes": attributes}
        shown = _dated(shown, of.convert_timestamp)
    return _operation("person", action, _who(of.person_id), device=shown)


def profile(of: Profile) -> Json:
    who = _who(of.id, of.email, of.anonymous_id)
    given = of.custom_attributes or {}
    attributes = {key: value for key, value in given.items() if key not in _NOT_ATTRIBUTES}
    attributes |= _some(created_at=of.created_at, email=of.email)
    related = None
    if of.group_id:
        about = _some(relationship_attributes=of.relationship_attributes)
        related = [{"identifiers": _object(of.group_id, of.object_type_id), **about}]
    rest = _some(attributes=_with_anonymous(attributes, of.anonymous_id, who), cio_relationships=related)
    return _operation(
        "person",
        "identify",
        who,
        **_dated(rest, of.convert_timestamp),
        **_some(timestamp=seconds(of.timestamp)),
    )


def event(of: Event | ContentReport) -> Json:
    attributes = dict(of.data or {})
    match of:
        case Track():
            action, name = "event", of.name
        case Page():
            action, name = "page", of.url
        case Screen():
            action, name = "screen", of.name
        case ContentReport():
            action = name = of.actionType
            attributes.pop("actionType", None)
        case _:
            raise TypeError(f"no event: {of!r}")
    who = _who(of.id if isinstance(of, Event) else None, None, of.anonymous_id)
    rest = {"attributes": _with_anonymous(attributes, of.anonymous_id, who)}
    own = _some(id=of.event_id if isinstance(of, Event) else None, timestamp=seconds(of.timestamp))
    return _operation("person", action, who, name=name, **own, **_dated(rest, of.convert_timestamp))


def thing(of: Thing) -> Json:
    who = _who(of.user_id, None, of.anonymous_id)
    about = _some(relationship_attributes=of.relationship_attributes)
    rest = _some(
        attributes=_with_anonymous(of.custom_attributes or {}, of.anonymous_id, None),
        created_at=of.created_at,
        cio_relationships=[{"identifiers": who, **about}] if who else None,
    )
    about_it = _dated(rest, of.convert_timestamp)
    return _operation("object", kind_of(of), _object(of.id, of.object_type_id), **about_it)


def kind_of(of: Thing) -> str:
    """The two kinds of operations on objects, which go in requests of their own."""
    return "identify" if of.user_id or not of.anonymous_id else "identify_anonymous"


def no_thing(of: ObjectKey) -> Json:
    return _operation("object", "delete", _object(of.object_id, of.object_type_id) if of.object_id else {})


def no_relationship(of: Relationship) -> Json:
    related = [{"identifiers": _who(of.person_id, None, of.anonymous_id)}]
    return _operation(
        "object", "delete_relationships", _object(of.object_id, of.object_type_id), cio_relationships=related
    )


def merge(of: Merge) -> Json:
    return {"type": "person", "action": "merge", "primary": _who(of.primary), "secondary": _who(of.secondary)}


def _operation(kind: str, action: str, identifiers: Json, **rest: Any) -> Json:
    return {"type": kind, "action": action, **rest, **({"identifiers": identifiers} if identifiers else {})}


def _object(object_id: str, type_id: str | None) -> Json:
    return {"object_id": object_id, "object_type_id": type_id or "1"}


def _who(person_id: str | None, email: str | None = None, anonymous_id: str | None = None) -> Json:
    if person_id:
        if person_id.startswith("cio_"):
            return {"cio_id": person_id.removeprefix("cio_")}
        return {"email": person_id} if _EMAIL.fullmatch(person_id) else {"id": person_id}
    if email:
        return {"email": email}
    return {"anonymous_id": anonymous_id} if anonymous_id else {}


def _with_anonymous(attributes: Json, anonymous_id: str | None, who: Json | None) -> Json:
    if not anonymous_id or (who is not None and "anonymous_id" in who):
        return attributes
    return {**attributes, "anonymous_id": anonymous_id}


def _some(**keys: Any) -> Json:
    return {key: value for key, value in keys.items() if value is not None}


def _dated(value: Json, wanted: bool) -> Json:
    """With dates as seconds, at any depth of objects; what is in a list stays."""
    return {key: _date(item) for key, item in value.items()} if wanted else value


def _date(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _date(item) for key, item in value.items()}
    if isinstance(value, str) and _DATE.fullmatch(value):
        ms = parse_time(value)
        return value if ms is None else ms // 1000
    return value


def seconds(value: str | int | float | None) -> Any:
    """A time as seconds; a number, also as text, stays as it is.

    So does what is no time: left out, it would count as of now, and Customer.io tells that it is wrong.
    """
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        ms = parse_time(value)
        return value if ms is None else ms // 1000
    return value


def moment(value: str | int | float | None) -> int | None:
    """A time, also one in digits, as whole seconds; None where there is none."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    ms = parse_time(value)
    return None if ms is None else ms // 1000
