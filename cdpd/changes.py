"""What differs between two configurations, and what of it a reload cannot change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.config.load import LoadedConfig
from cdpd.config.model import Config

_RESTART_NEEDED: Final[dict[str, Callable[[Config], object]]] = {
    "data": lambda config: config.data,
    "logging.format": lambda config: config.logging.format,
    "metrics.listen": lambda config: config.metrics.listen,
    "process.roles": lambda config: config.process.roles,
}
"""What a reload cannot change, and how to read it. Of the listeners they know themselves."""


def changed(before: LoadedConfig, after: LoadedConfig) -> list[str]:
    """Names of the sections that are not the same."""
    names = [
        name
        for name in Config.__struct_fields__
        if getattr(after.config, name) != getattr(before.config, name)
    ]
    return names if after.certificate == before.certificate else [*names, "the certificate"]


def restart_needed(before: LoadedConfig, after: LoadedConfig) -> list[str]:
    """Keys whose new value counts only from the next start on."""
    keys = [name for name, read in _RESTART_NEEDED.items() if read(after.config) != read(before.config)]
    if after.data_dir != before.data_dir and "data" not in keys:
        keys.append("data")
    return keys


class NamedChanges(Struct, frozen=True):
    """What differs among the sections of one kind, by their names: `[destinations.NAME]` and the like."""

    added: list[str] = []
    removed: list[str] = []
    renamed: dict[str, str] = {}
    """New name → the one before, which it takes over by `was`."""
    changed: dict[str, list[str]] = {}
    """Name → its keys that are not the same; by its new name."""


class Details(Struct, frozen=True):
    """What differs inside the sections; names and keys, no values."""

    named: dict[str, NamedChanges] = {}
    """`sources`, `destinations`, `hooks` …"""
    keys: dict[str, list[str]] = {}
    """Of every other section: its keys that are not the same."""


def details(before: LoadedConfig, after: LoadedConfig) -> Details:
    """Only what differs is in it."""
    named: dict[str, NamedChanges] = {}
    keys: dict[str, list[str]] = {}
    for section in Config.__struct_fields__:
        old, new = getattr(before.config, section), getattr(after.config, section)
        if old == new:
            continue
        if isinstance(old, dict):
            named[section] = _named(old, new)
        else:
            keys[section] = _keys(old, new)
    return Details(named, keys)


def _named(before: Mapping[str, Any], after: Mapping[str, Any]) -> NamedChanges:
    renamed = {}
    for name, now in after.items():
        was = _facts(now).get("was")
        if name not in before and was in before and was not in after:
            renamed[name] = str(was)
    changed = {}
    for name, now in after.items():
        then = before.get(renamed.get(name, name))
        if then is None or then == now:
            continue
        # That `was` came or went says nothing by itself: it is the renaming, or what is left of one.
        keys = [key for key in _keys(then, now) if key != "was"]
        if keys:
            changed[name] = keys
    return NamedChanges(
        added=[name for name in after if name not in before and name not in renamed],
        removed=[name for name in before if name not in after and name not in renamed.values()],
        renamed=renamed,
        changed=changed,
    )


def _keys(before: Any, after: Any) -> list[str]:
    old, new = _facts(before), _facts(after)
    missing = object()
    return [key for key in {**old, **new} if old.get(key, missing) != new.get(key, missing)]


def _facts(section: Any) -> Mapping[str, Any]:
    """A section's keys and values, whether it has a type of ours or is a plugin's own."""
    return section if isinstance(section, Mapping) else msgspec.structs.asdict(section)
