"""What a destination made of actions can do, told from its types: for `cdpd plugins show` and the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from cdpd.destinations.actions.destination import ActionDestination
from cdpd.destinations.actions.fields import fields_of
from cdpd.mapping.kit.field import Field


class FieldDoc(Struct, frozen=True, omit_defaults=True):
    """A field of a payload."""

    name: str
    type: str
    """`string`, `list of number`, `object` …"""
    required: bool = False
    choices: list[Any] = []
    default: Any = None
    """Its own mapping, as it would be written in the configuration."""
    doc: str = ""
    fields: list[FieldDoc] = []
    """Of an object: its keys."""
    extra_keys: bool = False


class ActionDoc(Struct, frozen=True, omit_defaults=True):
    """An action."""

    name: str
    title: str
    doc: str = ""
    trigger: str | None = None
    max_events: int = 1
    """How many share a request, at most."""
    fields: list[FieldDoc] = []


class PresetDoc(Struct, frozen=True, omit_defaults=True):
    """A mapping that runs unless the configuration says otherwise."""

    title: str
    action: str
    trigger: str = ""
    mapping: Mapping[str, Any] = {}


class ActionsDoc(Struct, frozen=True, omit_defaults=True):
    """All of a destination."""

    actions: list[ActionDoc] = []
    presets: list[PresetDoc] = []


def actions_doc(kind: type[ActionDestination]) -> ActionsDoc:
    """Every action with its fields, and the presets."""
    actions = [
        ActionDoc(
            action.name,
            action.title,
            action.doc,
            action.trigger,
            1 if action.batching is None else action.batching.max_events,
            _fields(fields_of(action.payload)),
        )
        for action in kind.actions
    ]
    presets = [
        PresetDoc(
            preset.title, preset.action.name, preset.trigger or preset.action.trigger or "", preset.mapping
        )
        for preset in kind.presets
    ]
    return ActionsDoc(actions, presets)


def _fields(fields: Mapping[str, Field]) -> list[FieldDoc]:
    return [
        FieldDoc(
            name,
            f"list of {field.type}" if field.multiple else field.type,
            field.required is True,
            list(field.choices),
            field.default,
            field.description,
            _fields(field.properties),
            field.extra_keys,
        )
        for name, field in fields.items()
    ]
