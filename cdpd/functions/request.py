"""The request that a source function gets. Source: spec/connections.md §9.1."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cdpd.functions.errors import InvalidEventPayload


class Headers(Mapping[str, str]):
    """A request's headers, looked up without regard to case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in headers.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({self._values!r})"


class Request:
    """A webhook's request."""

    def __init__(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self.url = url
        """As it was asked for, with its query; where the write key was there is the source's name."""
        self.headers = Headers(headers)
        self.body = body
        """As sent: what a signature is made of."""

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of one that stands twice the last."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    @property
    def text(self) -> str:
        """The body as text (UTF-8)."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body, decoded; of a form its fields. Raises InvalidEventPayload where it is no JSON."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            return self.form()
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise InvalidEventPayload(f"the body is no JSON: {error}") from None

    def form(self) -> dict[str, str]:
        """The fields of a form; of one that stands twice the last."""
        return dict(parse_qsl(self.text, keep_blank_values=True))
