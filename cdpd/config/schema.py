"""JSON Schema of cdpd.toml, for editors: made of the types, with the options of every installed hook and destination.

It knows what types know: keys, kinds of values, choices, bounds. What else there is to know `cdpd check` knows.
Draft 2020-12, written so that editors that know only `properties`, `anyOf` and `additionalProperties` (taplo) can
complete keys: the options of all plugins stand in `properties`, and `if`/`then` says which of them go together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Struct, inspect

from cdpd.config.describe import field_docs, first_line
from cdpd.config.model import Config
from cdpd.config.plugin_options import Catalogue, Installed
from cdpd.config.rules import NAME
from cdpd.secret import Secret

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
_SECRET_FORMS: Final = {
    "credential": "The name of what systemd's `LoadCredential=` brought.",
    "file": "A file that holds it.",
    "env": "An environment variable that holds it.",
}


class Unloadable(Struct, frozen=True):
    """A plugin whose options are not in the schema, and why."""

    kind: str
    name: str
    distribution: str
    reason: str


def schema(catalogue: Catalogue) -> tuple[Schema, list[Unloadable]]:
    """The schema, and the plugins that could not be loaded: in it anything goes for those."""
    unloadable: list[Unloadable] = []
    hooks = _plugins("hook", catalogue.hooks(), unloadable)
    destinations = _plugins("destination", catalogue.destinations(), unloadable)
    top = _struct(Config, ())
    sections = top["properties"]
    definitions: Schema = {}
    sections["hooks"] = _section("hook", "use", hooks, definitions)
    sections["destinations"] = _section("destination", "type", destinations, definitions)
    for hook_list in (sections["pipeline"], sections["sources"]["additionalProperties"]):
        # A name of [hooks.NAME] is as good as a plugin's: the choices are there for completion.
        hook_list["properties"]["hooks"]["items"] = {"anyOf": [{"enum": sorted(hooks)}, {"type": "string"}]}
    for name in ("sources", "oauth", "hooks", "destinations"):
        sections[name]["propertyNames"] = {"pattern": f"^(?:{NAME.pattern})$"}
    return {
        "$schema": DIALECT,
        "title": "cdpd.toml",
        "description": "Configuration of cdpd. Made by `cdpd schema`.",
        **top,
        "$defs": definitions,
    }, unloadable


def _plugins(
    kind: str, installed: Mapping[str, Installed], unloadable: list[Unloadable]
) -> dict[str, Schema]:
    """Plugin → the schema of its options."""
    found: dict[str, Schema] = {}
    for name, plugin in sorted(installed.items()):
        try:
            loaded = plugin.load()
            found[name] = _struct(loaded.Config, ())
            found[name]["description"] = first_line(loaded.__doc__) or f"The {kind} {name}."
        except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything; that is told
            reason = f"{type(error).__name__}: {error}"
            unloadable.append(Unloadable(kind, name, plugin.distribution, reason))
            found[name] = {"type": "object", "description": f"The {kind} {name} (cannot be loaded)."}
    return found


def _section(kind: str, key: str, plugins: dict[str, Schema], definitions: Schema) -> Schema:
    """[hooks] or [destinations]: a table each, whose `key` names the plugin; default: the table's own name."""
    choice = {
        "enum": sorted(plugins),
        "description": f"Which {kind}: one of `cdpd plugins`. Default: the section's own name.",
    }
    any_of_them: Schema = {"type": "object", "properties": {key: choice}}
    told: Schema = {}
    for name, own in reversed(plugins.items()):
        own.setdefault("properties", {})[key] = choice
        definitions[_definition(kind, name)] = own
        condition = {"properties": {key: {"const": name}}, "required": [key]}
        told = {"if": condition, "then": _reference(kind, name), **({"else": told} if told else {})}
    for own in plugins.values():
        for option, of_option in own["properties"].items():
            # Only to be completed and explained: whether it is right, the plugin's own schema says.
            about = {"description": of_option["description"]} if "description" in of_option else {}
            any_of_them["properties"].setdefault(option, about)
    definitions[kind] = {**any_of_them, **told}
    nameless = {**definitions[kind], "required": [key]}
    named = {
        name: {
            "if": {"required": [key]},
            "then": {"$ref": f"#/$defs/{kind}"},
            "else": _reference(kind, name),
        }
        for name in plugins
    }
    return {"type": "object", "properties": named, "additionalProperties": nameless}


def _definition(kind: str, name: str) -> str:
    return f"{kind}.{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}"


def _reference(kind: str, name: str) -> Schema:
    return {"$ref": f"#/$defs/{_definition(kind, name)}"}


# -- types ---------------------------------------------------------------------------------------------------


def _struct(kind: type[Struct], around: tuple[type, ...]) -> Schema:
    """A table. `around`: the structs that it stands in, lest one that holds itself goes on for ever."""
    about = inspect.type_info(kind)
    assert isinstance(about, inspect.StructType)
    if kind in around:
        return {"type": "object"}
    docs = field_docs(kind)
    properties: Schema = {}
    if about.tag_field is not None:
        properties[about.tag_field] = {"const": about.tag}
    for field in about.fields:
        made = _type(field.type, (*around, kind))
        if field.name in docs:
            made = {**made, "description": docs[field.name]}
        default = _default(field)
        if default is not None:
            made = {**made, "default": default}
        properties[field.encode_name] = made
    out: Schema = {"type": "object", "properties": properties}
    about_it = first_line(kind.__dict__.get("__doc__"))
    if about_it:
        out["description"] = about_it
    needed = [field.encode_name for field in about.fields if field.required]
    if about.tag_field is not None:
        needed.insert(0, about.tag_field)
    if needed:
        out["required"] = needed
    if about.forbid_unknown_fields:
        out["additionalProperties"] = False
    return out


def _type(kind: inspect.Type, around: tuple[type, ...]) -> Schema:
    """The schema of a field's value; what is not known takes anything."""
    match kind:
        case inspect.Metadata(type=inner):
            return _type(inner, around)
        case inspect.StructType(cls=cls):
            return _struct(cls, around)
        case inspect.UnionType(types=types):
            return _either(_type(each, around) for each in types if not isinstance(each, inspect.NoneType))
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return {"type": "array", "items": _type(item, around), **_bounds(kind, _OF_LISTS)}
        case inspect.SetType(item_type=item) | inspect.FrozenSetType(item_type=item):
            return {"type": "array", "items": _type(item, around), "uniqueItems": True}
        case inspect.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _type(value, around)}
        case inspect.LiteralType(values=values):
            return {"enum": list(values)}
        case inspect.EnumType(cls=cls):
            return {"enum": [member.value for member in cls]}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer", **_bounds(kind, _OF_NUMBERS)}
        case inspect.FloatType():
            return {"type": "number", **_bounds(kind, _OF_NUMBERS)}
        case inspect.StrType():
            return {"type": "string", **_bounds(kind, _OF_TEXTS)}
        case inspect.CustomType(cls=cls):
            return _custom(cls)
        case _:
            return {}


def _custom(cls: type) -> Schema:
    if cls is Secret:
        forms = [
            {
                "type": "object",
                "properties": {form: {"type": "string", "description": about}},
                "required": [form],
                "additionalProperties": False,
            }
            for form, about in _SECRET_FORMS.items()
        ]
        return {"anyOf": [{"type": "string"}, *forms]}
    return {"type": "string"} if cls.__module__.partition(".")[0] == "pathlib" else {}


def _either(options: Iterable[Schema]) -> Schema:
    different: list[Schema] = []
    for option in options:
        if option not in different:
            different.append(option)
    return different[0] if len(different) == 1 else {"anyOf": different}


_OF_NUMBERS: Final = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "multiple_of": "multipleOf",
}  # fmt: skip
_OF_TEXTS: Final = {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
_OF_LISTS: Final = {"min_length": "minItems", "max_length": "maxItems"}


def _bounds(kind: inspect.Type, names: Mapping[str, str]) -> Schema:
    found = {ours: getattr(kind, own, None) for own, ours in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def _default(field: inspect.Field) -> object:
    """The default, where it says something that TOML can say; tables have theirs at their keys."""
    if field.default is not NODEFAULT:
        value = field.default
    elif field.default_factory is not NODEFAULT:
        value = field.default_factory()
    else:
        return None
    if isinstance(value, Struct | dict | Secret):
        return None
    try:
        return msgspec.to_builtins(value, enc_hook=str)
    except (TypeError, ValueError):
        return None
