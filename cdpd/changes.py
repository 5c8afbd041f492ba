"""What differs between two configurations, and what of it a reload cannot change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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
