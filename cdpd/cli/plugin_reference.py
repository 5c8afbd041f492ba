"""How a plugin's reference is shown: its options, and of a destination made of actions what it can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from cdpd.config.describe import Option
    from cdpd.destinations.actions.describe import ActionDoc, ActionsDoc, FieldDoc, PresetDoc


def explained(shown: Iterable[Option], indent: str = "") -> list[str]:
    """Options as text."""
    lines = []
    for option in shown:
        lines.append(f"{indent}{option.name}  ({option.type}; {_default(option)})")
        if option.doc:
            lines.append(f"{indent}    {option.doc}")
        lines += explained(option.inner, f"{indent}    ")
    return lines


def connection(check: bool | None, name: str) -> str:
    """Whether its connection can be tested."""
    if check:
        return f"`cdpd destination check {name}` tests its connection, without an event."
    return f"Its connection cannot be tested without an event: `cdpd destination test {name} --event FILE --live`."


def actions_explained(doc: ActionsDoc) -> list[str]:
    """Actions and presets as text."""
    lines = ["", "Runs by itself, where [[destinations.NAME.actions]] does not name the action (presets):"]
    lines += [_preset(preset) for preset in doc.presets] or ["  nothing"]
    for action in doc.actions:
        lines += ["", f"Action {action.name}: {action.title}", *_facts(action)]
        lines += _fields(action.fields, "  ")
    return lines


def markdown_options(shown: Iterable[Option], prefix: str = "") -> Iterator[str]:
    """Options as rows of a table."""
    for option in shown:
        yield f"| `{prefix}{option.name}` | {_cell(option.type)} | {_cell(_default(option))} | {_cell(option.doc)} |"
        yield from markdown_options(option.inner, f"{prefix}{option.name}.")


def markdown_actions(doc: ActionsDoc) -> Iterator[str]:
    """Actions and presets, each with a table."""
    if doc.presets:
        yield from ("", "## Presets", "", "| | action | when |", "| --- | --- | --- |")
        for preset in doc.presets:
            yield f"| {_cell(preset.title)} | `{preset.action}` | `{_cell(preset.trigger)}` |"
    for action in doc.actions:
        yield from ("", f"## `{action.name}`: {action.title}", "")
        yield from (f"{fact.strip()}  " for fact in _facts(action))
        yield from ("", "| field | type | from | |", "| --- | --- | --- | --- |")
        yield from _markdown_fields(action.fields, "")


def _markdown_fields(fields: Iterable[FieldDoc], prefix: str) -> Iterator[str]:
    for field in fields:
        kind = f"{_type(field)}{', needed' if field.required else ''}"
        source = f"`{_cell(mapping_text(field.default))}`" if field.default is not None else ""
        yield f"| `{prefix}{field.name}` | {_cell(kind)} | {source} | {_cell(field.doc)} |"
        yield from _markdown_fields(field.fields, f"{prefix}{field.name}.")


def mapping_text(mapping: Any) -> str:
    """A directive, short: a path alone, `a, else b`, a template's text; anything else as JSON."""
    match mapping:
        case {"@path": str(path), **more} if not more:
            return path
        case {"@template": str(text), **more} if not more:
            return f'"{text}"'
        case {"@if": {"exists": one, "then": other, "else": rest}} if one == other:
            return f"{mapping_text(one)}, else {mapping_text(rest)}"
    return msgspec.json.encode(mapping).decode()


def _default(option: Option) -> str:
    return "needed" if option.required else f"default {option.default}" if option.default else "optional"


def _preset(preset: PresetDoc) -> str:
    return f"  {preset.title}: {preset.action}, when {preset.trigger}"


def _facts(action: ActionDoc) -> list[str]:
    lines = [f"  {action.doc}"] if action.doc else []
    lines.append(f"  when {action.trigger}" if action.trigger else "  has no trigger of its own: say `when`")
    if action.max_events > 1:
        lines.append(f"  up to {action.max_events} share a request")
    return lines


def _fields(fields: Iterable[FieldDoc], indent: str) -> list[str]:
    lines = []
    for field in fields:
        source = "" if field.default is None else f"; from {mapping_text(field.default)}"
        lines.append(f"{indent}{field.name}  ({_type(field)}{'; needed' if field.required else ''}{source})")
        if field.doc:
            lines.append(f"{indent}    {field.doc}")
        lines += _fields(field.fields, f"{indent}    ")
    return lines


def _type(field: FieldDoc) -> str:
    if field.choices:
        return " or ".join(f'"{choice}"' for choice in field.choices)
    return f"{field.type} with any keys besides" if field.extra_keys else field.type


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
