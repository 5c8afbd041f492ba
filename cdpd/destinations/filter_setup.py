"""`[[destinations.X.filters]]`: what a destination does not get, or not all of. Source: spec/connections.md §6."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from cdpd.mapping.fql.errors import FqlSyntaxError
from cdpd.mapping.fql.filter import Filter, compile_filter
from cdpd.mapping.fql.parser import parse
from cdpd.mapping.fql.syntax import Path

MOST_FILTERS: Final = 10
_OLD_NAMES: Final = {
    "drop_event": "drop",
    "sample_event": "sample",
    "whitelist_fields": "allow_properties",
    "blocklist_fields": "drop_properties",
}

Kind = Literal["sample", "drop", "drop_properties", "allow_properties"]


class FilterAction(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What is done to an event that a filter's condition fits."""

    type: Literal[
        "drop", "sample", "drop_properties", "allow_properties",
        "drop_event", "sample_event", "whitelist_fields", "blocklist_fields",
    ]  # fmt: skip
    """`drop`: it is not sent. `sample`: a share of such events is. `drop_properties`, `allow_properties`: it is sent
    without, or with nothing but, some fields. Older names are known too."""
    percent: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Of `sample`: the share that is kept, 0 to 1."""
    path: str | None = None
    """Of `sample`: events with the same value there, such as `userId`, share their fate. Default: each by itself."""
    fields: dict[str, list[str]] | None = None
    """Of the other two: place of an object → names in it. `""` is the event itself; of a list each element is meant."""

    def __post_init__(self) -> None:
        if self.kind == "sample":
            if self.percent is None:
                raise ValueError("a sample needs `percent`, the share that is kept, 0 to 1")
            if self.path is not None:
                _read(self.path)
        elif self.percent is not None or self.path is not None:
            raise ValueError("`percent` and `path` belong to `sample`")
        if self.kind.endswith("_properties"):
            if not self.fields:
                raise ValueError('it needs `fields`, like { "properties" = ["email"] }')
            for place in self.fields:
                _check_place(place)
        elif self.fields is not None:
            raise ValueError("`fields` belong to `drop_properties` and `allow_properties`")
        if self.kind == "drop_properties" and "messageId" in (self.fields or {}).get("", ()):
            raise ValueError("every event keeps its messageId")

    @property
    def kind(self) -> Kind:
        """Its type, by its present name."""
        kind: Kind = _OLD_NAMES.get(self.type, self.type)  # type: ignore[assignment]  # the table is complete
        return kind


class FilterSetup(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A filter: a condition, and what is done to events that it fits."""

    condition: str = field(name="if")
    """FQL, like `type = "track" and !contains(properties.email, "@example.com")`; `all`: every event."""
    actions: list[FilterAction]
    """What is done; of all filters together samples come first, then drops, then fields."""
    title: Annotated[str, Meta(max_length=64)] = ""
    """What the log and `cdpd trace` call it. Default: its number."""
    description: str = ""
    """For people."""
    sources: list[str] | None = None
    """Only for events of these sources. Default: of all that the destination gets."""
    enabled: bool = True
    """False: as if it were not there."""

    def __post_init__(self) -> None:
        if not self.actions:
            raise ValueError('a filter needs `actions`, like [{ type = "drop" }]')
        try:
            compile_filter(self.condition)
        except FqlSyntaxError as error:
            raise ValueError(f"if: {error}\n{error.caret()}") from None

    @property
    def compiled(self) -> Filter:
        """Its condition."""
        return compile_filter(self.condition)


def _check_place(place: str) -> None:
    """Raises ValueError for what can be the place of no object: such a filter would do nothing, and hide nothing."""
    if place and (place.startswith("$") or not all(place.split("."))):
        ours = ".".join(part for part in place.removeprefix("$").split(".") if part)
        raise ValueError(f'fields: {place!r} is no place of an object, write "{ours}"')


def _read(path: str) -> None:
    try:
        if not isinstance(parse(path), Path):
            raise ValueError(f"path: {path!r} is no path of an event, like properties.plan")
    except FqlSyntaxError as error:
        raise ValueError(f"path: {error}") from None
