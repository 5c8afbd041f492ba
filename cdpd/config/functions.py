"""Functions in the configuration: files of Python of your own, their settings, and what is wrong with them.

`function` and `insert` of a source, `insert` of a destination, and destinations of type `function` name a file. Here it
is only read (with `ast`): `cdpd check` runs nothing of it. How they run: cdpd/functions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from cdpd.config.locate import Path
from cdpd.config.problem import did_you_mean
from cdpd.config.shape import Fault
from cdpd.secret import Secret, resolve

ON_REQUEST: Final = "on_request"
CALLS: Final = ("on_identify", "on_track", "on_page", "on_screen", "on_group", "on_alias", "on_delete")
ON_BATCH: Final = "on_batch"
HANDLERS: Final[Mapping[str, tuple[str, ...]]] = {
    "source": (ON_REQUEST,),
    "destination": (*CALLS, ON_BATCH),
    "insert": (*CALLS, ON_BATCH),
}
"""What a function is for → the names of its handlers (spec/connections.md §9)."""
LONGEST: Final = 60.0
"""Seconds that a handler may take at most, whatever is configured (§9.3)."""
HOOK: Final = "function"
"""The hook plugin that runs a source's insert function."""
_BEFORE: Final = ("spec", "dedup")
"""Hooks that a source insert function comes after: stage 5 of spec/connections.md §1."""
_SCALARS: Final = (str, int, float, bool)

Settings = dict[str, Any]
Kind = Literal["source", "destination", "insert"]
"""What a function is for."""


class FunctionSetup(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A function and what it is given: `{ file = "functions/enrich.py", settings = { api_key = { env = "KEY" } } }`."""

    file: str
    """The file, Python; relative to the configuration's folder."""
    settings: Settings = {}
    """Handed to every call as its second argument. Values are texts, numbers, booleans, lists of those, or secrets."""
    timeout: Annotated[float, Meta(gt=0, le=LONGEST)] = 5.0
    """Seconds that one call may take."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "settings", read_settings(self.settings))


def setup_of(value: str | FunctionSetup) -> FunctionSetup:
    """A file's name alone stands for itself without settings."""
    return FunctionSetup(file=value) if isinstance(value, str) else value


def read_settings(settings: Mapping[str, Any]) -> Settings:
    """With each `{ env = … }`, `{ file = … }` and `{ credential = … }` as a Secret. Raises ValueError."""
    return {key: _setting(key, value) for key, value in settings.items()}


def _setting(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        try:
            return resolve(value)
        except ValueError as error:
            raise ValueError(f"settings: {key}: {error}") from None
    if isinstance(value, list):
        return [_setting(key, item) for item in value]
    if not isinstance(value, (*_SCALARS, Secret)):
        raise ValueError(
            f"settings: {key}: expected a text, a number, a boolean, a list of those, or a secret"
        )
    return value


def revealed(value: Any) -> Any:
    """Settings as a function gets them: secrets are plain texts."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, dict):
        return {key: revealed(item) for key, item in value.items()}
    return [revealed(item) for item in value] if isinstance(value, list) else value


# -- the tables, before they are typed -------------------------------------------------------------------


def named(data: dict[str, Any]) -> Iterator[tuple[Path, str, dict[str, Any], str]]:
    """Every function of a configuration: where its file's name stands, what it is for, and the table and key of it."""
    for section, keys in (("sources", ("function", "insert")), ("destinations", ("insert",))):
        for name, options in _tables(data, section):
            for key in keys:
                kind = "source" if key == "function" else "insert"
                value = options.get(key)
                if isinstance(value, str):
                    yield (section, name, key), kind, options, key
                elif isinstance(value, dict) and isinstance(value.get("file"), str):
                    yield (section, name, key, "file"), kind, value, "file"
            if (
                section == "destinations"
                and options.get("type", name) == HOOK
                and isinstance(options.get("file"), str)
            ):
                yield (section, name, "file"), "destination", options, "file"


def broken_functions(data: dict[str, Any], folder: FilePath) -> Iterator[Fault]:
    """Files that are not there, are no Python, or have no handler; names that would be used twice."""
    for path, kind, options, key in named(data):
        fault = file_fault(folder / FilePath(options[key]).expanduser(), kind)
        if fault:
            yield Fault(path, *fault)
    taken = data.get("hooks")
    for name, options in _tables(data, "sources"):
        if "insert" in options and isinstance(taken, dict) and insert_hook(name) in taken:
            message = f"the name {insert_hook(name)!r} is that of this source's insert function"
            yield Fault(("hooks", insert_hook(name)), message, "give the hook another name", at_key=True)


def file_fault(file: FilePath, kind: str) -> tuple[str, str] | None:
    """What is wrong with a function's file, and what to do; None where nothing is. Runs nothing of it."""
    try:
        text = file.read_bytes()
    except OSError as error:
        return f"the function's file {file} cannot be read: {(error.strerror or str(error)).lower()}", ""
    try:
        tree = ast.parse(text, str(file))
    except (SyntaxError, ValueError) as error:
        place = f"{file}:{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else str(file)
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        return f"the function is no Python: {place}: {said}", ""
    names = set(_bound(tree))
    wanted = HANDLERS[kind]
    if names.isdisjoint(wanted) and "*" not in names:
        near = [did_you_mean(name, wanted) for name in sorted(names) if name.startswith("on")]
        hint = next((text for text in near if text), f"it needs one of: {', '.join(wanted)}")
        return f"the function {file} has no handler", hint
    return None


def _bound(tree: ast.Module) -> Iterator[str]:
    """Names that a module binds at its top; `*` for a star import, of which nothing is known."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                for target in targets:
                    names = target.elts if isinstance(target, ast.Tuple) else [target]
                    yield from (each.id for each in names if isinstance(each, ast.Name))
            case _:
                pass


def place_functions(data: dict[str, Any], folder: FilePath) -> None:
    """Make the names of functions' files absolute: they are below `folder`. For a configuration without faults."""
    for _, _, options, key in named(data):
        options[key] = str(folder.absolute() / FilePath(options[key]).expanduser())


def expand_inserts(data: dict[str, Any], default_hooks: list[str]) -> None:
    """Put each source's insert function into its chain: after `spec` and `dedup`, before all other hooks.

    For a configuration without faults, whose paths are absolute.
    """
    hooks = data.setdefault("hooks", {})
    for name, source in _tables(data, "sources"):
        value = source.get("insert")
        if value is None:
            continue
        hooks[insert_hook(name)] = {"use": HOOK, **({"file": value} if isinstance(value, str) else value)}
        chain = list(source.get("hooks", default_hooks))
        kinds = [hooks.get(hook, {}).get("use", hook) for hook in chain]
        at = max((i + 1 for i, kind in enumerate(kinds) if kind in _BEFORE), default=0)
        source["hooks"] = [*chain[:at], insert_hook(name), *chain[at:]]


def insert_hook(source: str) -> str:
    """The name of the hook that runs a source's insert function."""
    return f"{source}.insert"


def _tables(data: dict[str, Any], section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    found = data.get(section)
    for name, options in found.items() if isinstance(found, dict) else ():
        if isinstance(options, dict):
            yield name, options
