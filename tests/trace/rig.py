"""A data folder with events at every stage of their way, made by the log's own writers and state.db's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from cdpd import discovery
from cdpd.config.data_folder import state_db, stream_folder
from cdpd.config.load import LoadedConfig, load
from cdpd.delivery.cursor import DeliveryCursor, Range
from cdpd.delivery.state import Attempt, Moment, ParkedEvent, StateDb
from cdpd.event import Position
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import Cursor
from cdpd.log.stream import StreamOptions, open_stream
from cdpd.trace.searching import Wanted, search
from cdpd.trace.story import Delivered, Receipt, Story
from cdpd.trace.tracing import trace
from tests.clock import FakeClock
from tests.stored import AT_MS, encoded

CONFIG = """
[pipeline]
hooks = ["spec", "dedup", "ip"]
[sources.website]
type = "browser"
write_keys = ["wk_1"]
[destinations.hook]
type = "webhook"
url = "http://127.0.0.1:1/"
[destinations.app_only]
type = "null"
sources = ["app"]
[sources.app]
write_keys = ["wk_2"]
"""


class Folder:
    """The folder, and what is known of it."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.data_dir = folder / "data"
        self.config = folder / "cdpd.toml"
        self.config.write_text(config)
        self.config.chmod(0o600)

    @property
    def loaded(self) -> LoadedConfig:
        return load(self.config, self.data_dir)

    def append(
        self,
        stream: str,
        lines: Sequence[dict[str, Any] | bytes],
        *,
        origins: Sequence[int] | None = None,
        through: int | None = None,
        at_ms: int = AT_MS,
        config_id: int | None = None,
    ) -> None:
        """`through`: how far the pipeline has come in `received` with these."""

        async def write() -> None:
            folder = stream_folder(self.data_dir, stream)
            options = StreamOptions()
            opened = open_stream(folder, clock=FakeClock(at_ms), options=options, report=lambda _: None)
            async with opened as its:
                await its.append(
                    encoded(lines),
                    config_id=self.loaded.config_id if config_id is None else config_id,
                    cursor=None if through is None else Cursor(Position(through, 1), 0),
                    origins=origins,
                )

        asyncio.run(write())

    def state(self, name: str, low: int, *finished: tuple[int, int], **more: Any) -> None:
        """A destination's committed cursor, and `attempts`, `parked` with it."""
        epoch = StreamFolder(stream_folder(self.data_dir, "events")).reader().read()
        epochs = 0 if epoch is None else epoch.frames[0].epoch

        async def write() -> None:
            state = StateDb(state_db(self.data_dir))
            cursor = DeliveryCursor(
                Position(low, epochs), [Range(first, end, epochs) for first, end in finished]
            )
            await state.commit(Moment(name, cursor, AT_MS, **more))
            state.close()

        asyncio.run(write())

    def story(self, message_id: str, **more: Any) -> Story:
        clock = FakeClock(AT_MS + 60_000)
        found = search(self.data_dir, Wanted(message_id, **more))
        return anyio.run(trace, found, self.loaded, discovery, clock)

    def receipt(self, message_id: str, **more: Any) -> Receipt:
        (receipt,) = self.story(message_id, **more).receipts
        return receipt

    def at(self, name: str, message_id: str = "m1") -> Delivered:
        """What became of the event at a destination."""
        return next(one for one in self.receipt(message_id).destinations if one.name == name)


def attempt(offsets: str, outcome: str = "delivered", **changes: Any) -> Attempt:
    """An attempt with those lines of `events`, as "3-4,7-9"."""
    ranges = [tuple(map(int, item.split("-"))) for item in offsets.split(",")]
    values: dict[str, Any] = {
        "attempt": 1,
        "at_ms": AT_MS + 1000,
        "seconds": 0.035,
        "events": sum(end - first for first, end in ranges),
        "bytes": 100,
        "first": ranges[0][0],
        "last": ranges[-1][1] - 1,
        "offsets": offsets,
        "outcome": outcome,
        "status": 200 if outcome == "delivered" else 503,
        "reason": "" if outcome == "delivered" else "it answered 503",
        **changes,
    }
    return Attempt(**values)


def parked(offset: int, message_id: str, **changes: Any) -> ParkedEvent:
    values: Mapping[str, Any] = {
        "position": Position(offset, 1),
        "message_id": message_id,
        "line": b"{}",
        "reason": "no property plan",
        "status": 422,
        "request": "POST /",
        "answer": '{"error":"no property plan"}',
        "at_ms": AT_MS + 2000,
        **changes,
    }
    return ParkedEvent(**values)
