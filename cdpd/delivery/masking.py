"""Keeps a destination's secrets out of what is stored or shown of its requests and answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct

from cdpd.secret import Secret

MASKED: Final = "…"
_PARAMETERS: Final = re.compile(
    r"((?:^|[?&\s])(?:api_secret|api_key|access_token|_k)=)[^&\s\"']+", re.IGNORECASE
)
_AUTHORIZATION: Final = re.compile(r"(authorization\s*[:=]\s*\"?)[^\r\n\"]+", re.IGNORECASE)
_SHORTEST: Final = 4
"""A shorter secret would mask half of every text."""


class Mask:
    """Call it with a text: the same without the secrets of a configuration."""

    def __init__(self, config: Struct) -> None:
        texts = {secret.reveal() for secret in _secrets(config)}
        forms = {form for text in texts if len(text) >= _SHORTEST for form in (text, quote(text, safe=""))}
        longest_first = sorted(forms, key=len, reverse=True)
        self._own = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        if self._own is not None:
            text = self._own.sub(MASKED, text)
        text = _PARAMETERS.sub(rf"\1{MASKED}", text)
        return _AUTHORIZATION.sub(rf"\1{MASKED}", text)


def _secrets(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)
