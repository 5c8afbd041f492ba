"""What an action says of a field of its payload. Spec: connections.md §8 (field definition)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct
from msgspec import field as member

FieldType = Literal["string", "text", "number", "integer", "boolean", "datetime", "object", "password"]


def same(left: Any, right: Any) -> bool:
    """Equal as JSON: `1` equals `1.0`, `true` does not equal 1."""
    return bool(left == right) and isinstance(left, bool) is isinstance(right, bool)


class Condition(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Another field of the payload that is, or is not, a value."""

    field_key: str
    operator: Literal["is", "is_not"] = "is"
    value: Any = None
    """Default: the field is absent."""
    type: Literal["field"] = "field"

    def holds(self, payload: Mapping[str, Any]) -> bool:
        return same(payload.get(self.field_key), self.value) is (self.operator == "is")


class Conditions(Struct, frozen=True, forbid_unknown_fields=True):
    """When a field is required."""

    conditions: tuple[Condition, ...]
    match: Literal["all", "any"] = "all"

    def hold(self, payload: Mapping[str, Any]) -> bool:
        answers = [condition.holds(payload) for condition in self.conditions]
        return all(answers) if self.match == "all" else any(answers)


class Field(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """One field; in JSON with camelCase names (`allowNull`)."""

    type: FieldType
    label: str = ""
    description: str = ""
    required: bool | Conditions = False
    multiple: bool = False
    """A list of it."""
    allow_null: bool = False
    """An explicit null is valid, and sent; elsewhere it counts as absent."""
    default: Any = None
    """What a new mapping starts with: a value or directives; None: nothing."""
    choices: tuple[Any, ...] = ()
    """The only values, each as it is or as an object with a `value`."""
    properties: dict[str, Field] = member(default_factory=dict)
    """Of an object: its own fields; without them it keeps everything."""
    extra_keys: bool = False
    """Of an object with own fields: keep other keys too."""

    def is_required(self, payload: Mapping[str, Any]) -> bool:
        """Whether it is, beside these other fields."""
        return self.required if isinstance(self.required, bool) else self.required.hold(payload)

    def values(self) -> list[Any]:
        """The choices' values; none: any value will do."""
        return [choice["value"] if isinstance(choice, dict) else choice for choice in self.choices]


def default_mapping(fields: Mapping[str, Field]) -> dict[str, Any]:
    """The mapping that a new one starts with."""
    return {name: field.default for name, field in fields.items() if field.default is not None}
