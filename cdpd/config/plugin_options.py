"""Hooks and destinations in the configuration: are they installed, and do their options fit their Config?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Protocol, get_args

import msgspec
from msgspec import Struct

from cdpd.config.locate import Path
from cdpd.config.model import DEFAULT_HOOKS
from cdpd.config.problem import did_you_mean
from cdpd.config.rules import table
from cdpd.config.shape import DecHook, Fault, check_shape
from cdpd.timestamp import parse_time


class Installed(Protocol):
    """An installed plugin: an entry point, not imported yet (cdpd.discovery.Found is one)."""

    @property
    def distribution(self) -> str: ...

    def load(self) -> Any:
        """Import its class. May raise anything."""
        ...


class Catalogue(Protocol):
    """What is installed, by name (the module cdpd.discovery is one)."""

    def hooks(self) -> Mapping[str, Installed]: ...

    def destinations(self) -> Mapping[str, Installed]: ...


def plugin_faults(data: dict[str, Any], catalogue: Catalogue, dec_hook: DecHook) -> Iterator[Fault]:
    """Everything wrong with hooks and destinations; imports the classes of those that are configured."""
    yield from _hook_faults(data, catalogue.hooks(), dec_hook)
    yield from _destination_faults(data, catalogue.destinations(), dec_hook)


def chains(data: dict[str, Any]) -> Iterator[tuple[Path, list[Any]]]:
    """Every list of hooks in the configuration, with its path."""
    own = table(data, "pipeline").get("hooks", list(DEFAULT_HOOKS))
    lists: list[tuple[Path, Any]] = [(("pipeline", "hooks"), own)]
    for name, source in table(data, "sources").items():
        if isinstance(source, dict) and "hooks" in source:
            lists.append((("sources", name, "hooks"), source["hooks"]))
    for path, names in lists:
        if isinstance(names, list):
            yield path, names


def _hook_faults(
    data: dict[str, Any], installed: Mapping[str, Installed], dec_hook: DecHook
) -> Iterator[Fault]:
    configured = table(data, "hooks")
    for path, names in chains(data):
        for i, name in enumerate(names):
            if not isinstance(name, str):
                continue
            if name in names[:i]:
                yield Fault((*path, i), f"hook {name!r} stands twice in this list")
            elif name not in configured and name not in installed:
                yield Fault((*path, i), f"there is no hook {name!r}", _other(name, {*installed, *configured}))
    listed = {
        name: (*path, i)
        for path, names in chains(data)
        for i, name in enumerate(names)
        if isinstance(name, str)
    }
    for name in dict.fromkeys((*configured, *(name for name in listed if name in installed))):
        options = configured.get(name, {})
        if not isinstance(options, dict):
            continue
        kind = options.get("use", name)
        if not isinstance(kind, str):
            yield Fault(("hooks", name, "use"), "expected the name of a hook plugin, a string")
        elif kind not in installed:
            path = ("hooks", name, "use") if "use" in options else ("hooks", name)
            hint = _other(kind, installed)
            if "use" not in options and not did_you_mean(kind, installed):
                hint = f'name the plugin: use = "…" ({_names(installed)})'
            yield Fault(path, f"there is no hook {kind!r}", hint, at_key="use" not in options)
        else:
            own = {key: value for key, value in options.items() if key != "use"}
            at = ("hooks", name) if name in configured else listed[name]
            yield from _option_faults(at, own, installed[kind], dec_hook)


def _destination_faults(
    data: dict[str, Any], installed: Mapping[str, Installed], dec_hook: DecHook
) -> Iterator[Fault]:
    for name, options in table(data, "destinations").items():
        if not isinstance(options, dict):
            continue
        kind = options.get("type", name)
        if not isinstance(kind, str):
            yield Fault(("destinations", name, "type"), "expected the name of a destination, a string")
            continue
        if kind not in installed:
            path = ("destinations", name, "type") if "type" in options else ("destinations", name)
            hint = _other(kind, installed)
            if "type" not in options and not did_you_mean(kind, installed):
                mistyped = next((key for key in options if did_you_mean(key, ("type",))), None)
                hint = f'say which it is: type = "…" ({_names(installed)})'
                if mistyped is not None:
                    yield Fault(("destinations", name, mistyped), "unknown key", 'did you mean "type"?', True)
                    continue
            yield Fault(path, f"there is no destination {kind!r}", hint, at_key="type" not in options)
            continue
        yield from _option_faults(("destinations", name), options, installed[kind], dec_hook)
        yield from _destination_problems(("destinations", name), options, installed[kind], dec_hook)
        start = options.get("from")
        if isinstance(start, str) and start not in ("now", "beginning") and parse_time(start) is None:
            message = f'expected "now", "beginning" or a time like 2026-01-31T12:00:00Z, found "{start}"'
            hint = did_you_mean(start, ("now", "beginning"))
            yield Fault(("destinations", name, "from"), message, hint)


def _option_faults(
    path: Path, options: dict[str, Any], plugin: Installed, dec_hook: DecHook
) -> Iterator[Fault]:
    try:
        config = plugin.load().Config
    except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything on import
        reason = f"{type(error).__name__}: {error}"
        message = f"its package {plugin.distribution} cannot be loaded: {reason}"
        yield Fault(path, message, "`cdpd plugins` shows what is installed", at_key=True)
        return
    yield from check_shape(options, config, dec_hook, path)


def _destination_problems(
    path: Path, options: dict[str, Any], plugin: Installed, dec_hook: DecHook
) -> Iterator[Fault]:
    """What the destination itself finds wrong; nothing where its options do not even have the right types."""
    try:
        kind = plugin.load()
        config = msgspec.convert(options, kind.Config, dec_hook=dec_hook)
    except Exception:  # noqa: BLE001 - it was told already: this is about options that can be read
        return
    for problem in kind.problems(config):
        yield Fault((*path, *problem.path), problem.message, problem.hint)


def place_paths(data: dict[str, Any], catalogue: Catalogue, folder: FilePath) -> None:
    """Make relative paths in the options of hooks and destinations absolute: they are below `folder`.

    For a configuration without faults.
    """
    hooks, destinations = catalogue.hooks(), catalogue.destinations()
    for name, options in table(data, "hooks").items():
        _place(options, hooks[options.get("use", name)].load().Config, folder)
    for name, options in table(data, "destinations").items():
        _place(options, destinations[options.get("type", name)].load().Config, folder)


def place_own_paths(data: dict[str, Any], folder: FilePath) -> None:
    """The same for the paths in sections of our own. For a configuration without faults."""
    tables = [(table(data, "http"), "analytics_js")]
    for app in table(data, "oauth").values():
        tables += [(key, "file") for key in app["keys"]]
    for options, name in tables:
        if name in options:
            options[name] = str(folder.absolute() / FilePath(options[name]).expanduser())


def _place(options: dict[str, Any], config: type[Struct], folder: FilePath) -> None:
    for field in msgspec.structs.fields(config):
        value = options.get(field.encode_name)
        if isinstance(value, str) and FilePath in (field.type, *get_args(field.type)):
            options[field.encode_name] = str(folder.absolute() / FilePath(value).expanduser())


def _names(installed: Mapping[str, Installed] | set[str]) -> str:
    return ", ".join(sorted(installed))


def _other(name: str, known: Mapping[str, Installed] | set[str]) -> str:
    package = "cdpd-" + name.lower().replace("_", "-")
    return (
        did_you_mean(name, known)
        or f"installed: {_names(known)}; a plugin may be missing: pip install {package}"
    )
