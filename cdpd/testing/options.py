"""Options of a plugin as a configuration has them, checked as `cdpd check` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from cdpd.config.decode import decode
from cdpd.config.problem import ConfigError, Problem, key_text
from cdpd.config.shape import check_shape

C = TypeVar("C", bound=Struct)


def configured(config: type[C], options: Mapping[str, object] | None = None) -> C:
    """A plugin's Config of these options, written as in TOML: paths and secrets as texts, tables as dicts.

    Raises cdpd.config.problem.ConfigError with every fault, in the words of `cdpd check`.
    """
    value = dict(options or {})
    faults = check_shape(value, config, decode)
    if faults:
        raise ConfigError([Problem(f.message, key=key_text(f.path), suggestion=f.suggestion) for f in faults])
    return msgspec.convert(value, config, dec_hook=decode)
