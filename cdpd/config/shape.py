"""Every place where a table does not have the shape of its type; msgspec itself stops at the first.

Walks structs, dicts, lists and unions; what a scalar may be is left to msgspec.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from cdpd.config.locate import Path
from cdpd.config.problem import did_you_mean

DecHook = Callable[[type, Any], Any]
"""As msgspec's `dec_hook`: makes a value of a type of ours; raises ValueError, or ValidationError."""


class Fault(Struct, frozen=True):
    """A wrong value (or, with `at_key`, a wrong key) at a path."""

    path: Path
    message: str
    suggestion: str = ""
    at_key: bool = False


def check_shape(value: object, wanted: Any, dec_hook: DecHook, path: Path = ()) -> list[Fault]:
    """All faults of `value`; where every part is right, what the types' own `__post_init__` say."""
    all_faults = list(faults(value, wanted, dec_hook, path))
    if not all_faults:
        try:
            msgspec.convert(value, wanted, dec_hook=dec_hook)
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$")
            all_faults.append(Fault((*path, *_parsed(place.removesuffix("`"))), message))
    return all_faults


def _parsed(place: str) -> Iterator[str | int]:
    """msgspec's `.a.b[0]` as a path, up to the first part that it leaves open (`[...]`)."""
    for name, index, unknown in re.findall(r"\.([^.\[]+)|\[(\d+)\]|(\[)", place):
        if unknown:
            return
        yield name or int(index)


def faults(value: object, wanted: Any, dec_hook: DecHook, path: Path = ()) -> Iterator[Fault]:
    """What keeps `value` (as tomllib gives it) from being a `wanted`, in the order of the type's fields."""
    plain = _bare(wanted)
    if isinstance(value, dict):
        struct = _struct_for(value, plain)
        if struct is not None:
            yield from _struct_faults(value, struct, dec_hook, path)
            return
    for option in _options(plain):
        if get_origin(option) is dict and isinstance(value, dict):
            for key, item in value.items():
                yield from faults(item, get_args(option)[1], dec_hook, (*path, key))
            return
        if get_origin(option) is list and isinstance(value, list):
            for i, item in enumerate(value):
                yield from faults(item, get_args(option)[0], dec_hook, (*path, i))
            return
    try:
        msgspec.convert(value, wanted, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        yield _scalar_fault(value, plain, path, error)


def _struct_faults(value: dict[str, Any], struct: type, dec_hook: DecHook, path: Path) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    info = struct.__struct_config__  # type: ignore[attr-defined]  # every Struct has it
    known = [*fields, info.tag_field] if info.tag_field else list(fields)
    for name, item in value.items():
        if name in fields:
            yield from faults(item, fields[name].type, dec_hook, (*path, name))
        elif name not in known and info.forbid_unknown_fields:
            missing = [key for key in known if key not in value]
            hint = did_you_mean(name, missing) or did_you_mean(name, known)
            yield Fault((*path, name), "unknown key", hint or _known(missing), at_key=True)
    for name, field in fields.items():
        if field.required and name not in value:
            yield Fault((*path, name), f"missing: {expected(field.type)} is needed here", at_key=True)


def _known(names: list[str]) -> str:
    return f"known here: {', '.join(sorted(names))}" if names else ""


def _struct_for(value: dict[str, Any], wanted: Any) -> type | None:
    """The struct among the wanted types that this table is to be."""
    structs = [
        option for option in _options(wanted) if isinstance(option, type) and issubclass(option, Struct)
    ]
    if len(structs) == 1:
        return structs[0]
    for struct in structs:
        info = struct.__struct_config__
        if info.tag_field and value.get(info.tag_field) == info.tag:
            return struct
    return None


def _bare(wanted: Any) -> Any:
    while get_origin(wanted) is Annotated:
        wanted = get_args(wanted)[0]
    return wanted


def _options(wanted: Any) -> list[Any]:
    if get_origin(wanted) in (typing.Union, types.UnionType):
        return [_bare(option) for option in get_args(wanted)]
    return [wanted]


def _scalar_fault(value: object, wanted: Any, path: Path, error: msgspec.ValidationError) -> Fault:
    options = [option for option in _options(wanted) if option is not type(None)]
    choices = [c for option in options if get_origin(option) is Literal for c in get_args(option)]
    own = str(error)
    if not own.startswith(("Expected", "Invalid enum value", "Object")):  # a sentence of a dec_hook
        return Fault(path, own.partition(" - at `$")[0])
    message = f"expected {expected(wanted)}, found {found(value)}"
    if isinstance(value, str) and choices:
        return Fault(path, message, did_you_mean(value, [c for c in choices if isinstance(c, str)]))
    if own.startswith("Expected") and ", got" not in own:  # right type, out of bounds: "Expected `int` >= 1"
        bound = own.rpartition("`")[2].strip()
        return Fault(path, f"expected {expected(wanted)} {bound}, found {found(value)}")
    return Fault(path, message, _rewritten(value, options))


def _rewritten(value: object, options: list[Any]) -> str:
    """The value as it should have been written, where that can be guessed."""
    if isinstance(value, str):
        text = value.strip()
        if bool in options and text.lower() in ("true", "false", "yes", "no", "on", "off"):
            return f"write {'true' if text.lower() in ('true', 'yes', 'on') else 'false'}, without quotes"
        if (int in options or float in options) and text.replace(".", "", 1).isdecimal():
            return f"write {text}, without quotes"
        if any(get_origin(option) is list for option in options):
            return f"write [{found(value)}]"
    if str in options and isinstance(value, bool | int | float | datetime | date | time):
        return f'put it in quotes: "{found(value)}"'
    return ""


def expected(wanted: Any) -> str:
    """A type in words: `a whole number`, `"user", "strict" or "none"`."""
    wanted = _bare(wanted)
    words = [_words(option) for option in _options(wanted) if option is not type(None)]
    return _listed(words) if words else "nothing"


def _words(wanted: Any) -> str:
    names = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", Any: "a value"}
    if wanted in names:
        return names[wanted]
    origin = get_origin(wanted)
    if origin is Literal:
        return _listed([found(choice) for choice in get_args(wanted)])
    if origin in (list, tuple, set, frozenset):
        inner = _bare(get_args(wanted)[0]) if get_args(wanted) else Any
        if get_origin(inner) is Literal:
            return f"a list of {expected(inner)}"
        plural = {str: "strings", int: "whole numbers", float: "numbers"}.get(inner, "values")
        if isinstance(inner, type) and issubclass(inner, Struct):
            plural = "tables"
        return f"a list of {plural}"
    if origin is dict or wanted is dict or (isinstance(wanted, type) and issubclass(wanted, Struct)):
        return "a table"
    name = getattr(wanted, "__name__", str(wanted))
    return {
        "Path": "a path",
        "Secret": 'a secret: "…", { env = "…" }, { file = "…" } or { credential = "…" }',
    }.get(name, f"a {name}")


_SECRET: Final = 'a secret: "…", { env = "…" }, { file = "…" } or { credential = "…" }'


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def found(value: object) -> str:
    """A value of a TOML document as it would be written, long ones cut."""
    if isinstance(value, str):
        return '"' + (value if len(value) <= 60 else value[:57] + "…") + '"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value)
