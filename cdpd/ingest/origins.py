"""Which websites' pages may send to a source: an origin, or all subdomains of one (`https://*.example.com`)."""

from __future__ import annotations

from collections.abc import Sequence


class Origins:
    """A source's `allowed_origins`. True where it has any."""

    __slots__ = ("_below", "_exact")

    def __init__(self, allowed: Sequence[str]) -> None:
        self._exact = frozenset(text for text in allowed if "*" not in text)
        self._below = [_parts(text) for text in allowed if "*" in text]

    def __bool__(self) -> bool:
        return bool(self._exact or self._below)

    def allow(self, origin: str) -> bool:
        """Whether pages of `origin` (an `Origin` header) may send."""
        if origin in self._exact:
            return True
        return any(
            origin.startswith(start) and origin.endswith(end) and len(origin) > len(start) + len(end)
            for start, end in self._below
        )


def _parts(text: str) -> tuple[str, str]:
    start, _, end = text.partition("*")
    return start, end
