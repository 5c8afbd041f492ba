"""A request as ingest sees it, whichever of the two HTTP implementations read it (express.py, full_http.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping


class Request(ABC):
    """One request. Header names are looked up in lower case."""

    __slots__ = ("body", "headers", "http10", "keep_alive", "method", "path", "peer", "query")

    method: str
    path: str
    """As sent: percent-encoded, without the query."""
    query: str
    headers: Mapping[str, str]
    peer: str
    """The other end's address."""
    keep_alive: bool
    """Whether the client means to use the connection again."""
    http10: bool
    """HTTP/1.0, where keeping a connection has to be said."""
    body: bytes | None
    """The whole body as sent, where it has come already."""

    @abstractmethod
    async def next_piece(self) -> bytes:
        """The next piece of a body that has not come yet; empty at its end.

        Raises BodyTooSlow after body_timeout, ConnectionError when the client goes away.
        """

    @abstractmethod
    def waits_for_body(self, waits: bool) -> None:
        """The body is being waited for: its deadline begins (or no longer matters)."""

    def forwarded_for(self) -> str:
        """The hops of all `X-Forwarded-For` headers, comma-separated."""
        return self.headers.get("x-forwarded-for", "")

    @property
    def content_length(self) -> int | None:
        """What the header says of the body as sent; None for a chunked one."""
        text = self.headers.get("content-length")
        return int(text) if text is not None and "transfer-encoding" not in self.headers else None
