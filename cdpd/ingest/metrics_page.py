"""What ingest knows of the metrics page that it serves at /metrics (cdpd/scrape makes it)."""

from __future__ import annotations

from typing import Protocol


class MetricsPage(Protocol):
    """The page, for whoever has the token."""

    @property
    def has_token(self) -> bool:
        """Whether a token is configured; without one the page is not served here."""
        ...

    def admits(self, authorization: str) -> bool:
        """Whether who sends this `Authorization` header may have it."""
        ...

    async def page(self, accept: str) -> tuple[str, bytes]:
        """Content type and text, for a request's `Accept` header."""
        ...
