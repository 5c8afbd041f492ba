"""What two configurations say differently, as the names of settings: values may be secrets, and stay out of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.config.load import LoadedConfig
from cdpd.config.model import Config
from cdpd.difference import Sign

_SHOWN: Final = "hooks"
"""The key of the lists whose values are told: names of hooks in their order."""
_NAMED: Final = ("sources", "hooks", "destinations", "oauth")


class Setting(Struct, frozen=True, omit_defaults=True):
    """A setting that is not the same: `+` only in the new configuration, `-` only in the old one."""

    key: str
    """Like `hooks.sample.rate`."""
    sign: Sign
    before: str = ""
    after: str = ""
    """Only of lists of hooks."""


def changed_settings(old: Config, new: Config) -> list[Setting]:
    """Every setting that differs, in the order of the configuration's sections."""
    before, after = (_plain(config) for config in (old, new))
    return list(_changed(before, after, ()))


def _plain(config: Config) -> dict[str, Any]:
    # A secret is told apart by its hash and never shown: only names of settings are.
    found: dict[str, Any] = msgspec.to_builtins(config, enc_hook=hash)
    return found


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Setting]:
    for key in [*old, *(key for key in new if key not in old)]:
        here = (*path, key)
        if key not in new or key not in old:
            yield Setting(
                ".".join(here), "+" if key in new else "-", *_lists(key, old.get(key), new.get(key))
            )
            continue
        before, after = old[key], new[key]
        if before == after:
            continue
        # Down to the options of a plugin, and no further: what is in them is the plugin's own.
        deeper = len(here) < (3 if here[0] in _NAMED else 2)
        if deeper and isinstance(before, dict) and isinstance(after, dict):
            yield from _changed(before, after, here)
        else:
            yield Setting(".".join(here), "~", *_lists(key, before, after))


def _lists(key: str, before: object, after: object) -> tuple[str, str]:
    if key != _SHOWN or not all(value is None or isinstance(value, list) for value in (before, after)):
        return "", ""
    return _chain(before), _chain(after)


def _chain(names: object) -> str:
    return "" if names is None else " → ".join(map(str, names)) or "none" if isinstance(names, list) else ""


def same_chain(old: LoadedConfig, new: LoadedConfig, source: str) -> bool:
    """Whether both bring a source's events through the same hooks with the same options."""
    return _chain_of(old.config, source) == _chain_of(new.config, source)


def _chain_of(config: Config, name: str) -> object:
    source = config.sources.get(name)
    if source is None:
        return None
    hooks = config.pipeline.hooks if source.hooks is None else source.hooks
    options = [(hook, {"use": hook, **config.hooks.get(hook, {})}) for hook in hooks]
    return source.enabled, source.type, source.labels, options
