"""Types of ours in a plugin's Config: how their TOML values become them (msgspec's `dec_hook`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdpd.secret import Secret, resolve


def decode(wanted: type, value: Any) -> Any:
    """A `wanted` made of `value`. Raises ValueError; NotImplementedError for a type that it does not know."""
    if wanted is Path and isinstance(value, str):
        return Path(value).expanduser()
    if wanted is Secret:
        return resolve(value)
    raise NotImplementedError(f"a Config cannot have a field of type {wanted.__name__}")
