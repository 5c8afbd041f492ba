"""Masking: secrets are taken out of every text that is kept or shown (logs, status, parked events)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

import msgspec

from cdpd.secret import HIDDEN, Secret

SHORTEST: Final = 4
"""Shorter secrets are left alone: hiding every `a` would hide the message and tell the secret."""


class Mask:
    """Replaces the given secrets, plain, JSON-escaped or percent-encoded, by `•••`."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            text = secret.reveal()
            # A header like `Authorization: Bearer TOKEN`: the token alone is a secret too.
            for part in (text, *text.split(" ")[1:]):
                if len(part) >= SHORTEST:
                    escaped = msgspec.json.encode(part).decode()[1:-1]
                    forms.update((part, escaped, quote(part, safe=""), quote(part), quote_plus(part)))
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(HIDDEN, text) if self._pattern else text
