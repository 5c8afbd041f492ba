"""What the daemon and a function's process say to each other: JSON of these, each after its length in 4 bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

from cdpd.config.functions import Kind

Ended = Literal[
    "done", "status", "retry", "timeout", "unsupported", "rejected", "dropped", "invalid_settings", "failed"
]
"""How a call ended. `status`: by an HTTP status, which says the rest."""
_LENGTH: Final = 4
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a frame: more is a mistake."""


class Load(Struct, frozen=True, tag="load"):
    """The first frame: what this process is to run."""

    file: str
    kind: Kind
    settings: dict[str, Any]


class Run(Struct, frozen=True, tag="run"):
    """One call of a handler for each item, or one of `on_batch` for all."""

    id: int
    items: list[Raw]
    """Events; of a source function one request (Webhook)."""
    limit: float
    """Seconds."""


class Webhook(Struct, frozen=True):
    """A request as it is handed over, and as it is kept for another try."""

    url: str
    headers: dict[str, str]
    body: bytes


class Loaded(Struct, frozen=True, tag="loaded"):
    """The answer to Load. `problem` is empty where it can run."""

    handlers: list[str] = []
    problem: str = ""
    trace: str = ""


class Result(Struct, omit_defaults=True):
    """What became of one item."""

    ended: Ended = "done"
    message: str = ""
    trace: str = ""
    status: int | None = None
    changed: dict[str, Raw] | None = None
    """Of an insert function: fields of the event that are others now, and those that are new."""
    removed: list[str] = []
    emitted: list[Raw] = []
    """Of a source function: events and objects."""


class Ran(Struct, tag="ran"):
    """The answer to Run: one Result an item."""

    id: int
    results: list[Result]
    output: str = ""
    """What was printed, its first 4 KB."""
    stuck: bool = False
    """A plain handler did not end in time; its thread cannot be stopped, so this process should be."""


Down = Load | Run
Up = Loaded | Ran
_encode: Final = msgspec.json.Encoder().encode
decode_down: Final = msgspec.json.Decoder(Down).decode
decode_up: Final = msgspec.json.Decoder(Up).decode


def frame(message: Down | Up) -> bytes:
    """Its bytes."""
    text = _encode(message)
    return len(text).to_bytes(_LENGTH, "big") + text


class Frames:
    """Puts frames together from pieces as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The texts of the frames that are whole now. Raises ValueError for one that is too large."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH:
            size = int.from_bytes(buffer[:_LENGTH], "big")
            if size > LARGEST:
                raise ValueError(f"a frame of {size} bytes")
            if len(buffer) < _LENGTH + size:
                return
            text = bytes(buffer[_LENGTH : _LENGTH + size])
            del buffer[: _LENGTH + size]
            yield text
