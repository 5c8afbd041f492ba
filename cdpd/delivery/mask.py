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
            if len(text) < SHORTEST:
                continue
            escaped = msgspec.json.encode(text).decode()[1:-1]
            forms.update((text, escaped, quote(text, safe=""), quote(text), quote_plus(text)))
            # A header like `Authorization: Bearer TOKEN` or `Basic …`: the token alone is a secret too.
            _, _, token = text.partition(" ")
            if len(token) >= 2 * SHORTEST:
                forms.add(token)
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(HIDDEN, text) if self._pattern else text
