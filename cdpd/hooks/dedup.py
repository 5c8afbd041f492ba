"""Discards an event that came before: its source and messageId are in `events`, within the window, or earlier
in the same slice (ARCHITECTURE, “Dedup that survives crashes”).

The store is a follower of `events` with a position of its own, and catches up from there before the first event:
a slice that is run again finds nothing of itself, an event that was discarded for its content may come again
corrected, and a store that is lost is made again. The window is measured from the first receipt, exactly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

import anyio.lowlevel
import msgspec
from msgspec import Struct

from cdpd.config.duration import parse_duration
from cdpd.event import BEGINNING, Event, Position, Received
from cdpd.hooks.seen.store import MAX_WINDOW_MS, SLACK_MS, SeenStore
from cdpd.hookspecs import Discard, Retry, hookimpl
from cdpd.log.errors import Damage, InvalidCursor, LogError
from cdpd.log.files import OsFiles
from cdpd.log.reader import Frame, Slice
from cdpd.plugins import Plugin, PluginEnv
from cdpd.timestamp import parse_time

DUPLICATE: Final = Discard("duplicate", "an event of this source with this messageId came before")
_LATE_MS: Final = 10 * 60 * 1000
"""A receivedAt that is older than its log time by more than this is a retried event's: then log time counts."""
_AT_ONCE: Final = 256
"""Ids that are looked up before the loop gets its turn."""


class _Line(Struct, rename="camel"):
    """What is read of a line of `events`."""

    message_id: str = ""
    project_id: str = ""
    received_at: str = ""


_decode: Final = msgspec.json.Decoder(_Line).decode


class Dedup(Plugin):
    """Discards events whose source and messageId came before, within a window."""

    not_rehearsed = "it judges by what is stored already"
    takes_objects = True

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        window: str = "24h"
        """How long an id is remembered, e.g. `24h`, `7d`; at least 1m, at most 700d."""

        def __post_init__(self) -> None:
            if not 60 <= parse_duration(self.window) <= 700 * 86400:
                raise ValueError(f"window: {self.window!r} is out of range: write 1m to 700d")

    def __init__(self, config: Any, env: PluginEnv) -> None:
        super().__init__(config, env)
        self.window_ms = min(round(parse_duration(config.window) * 1000), MAX_WINDOW_MS)
        self._store: SeenStore
        self._duplicates: set[int] = set()
        """Offsets in `received`."""
        self._digests: dict[int, bytes] = {}
        """By offset, of the slice that is on its way."""
        self._times: dict[str, int] = {}
        self._tidied = False

    # -- the store follows `events` ------------------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        """One for each window, so that an old and a new instance never share one while a reload goes on."""
        return self.env.state_dir / f"window-{self.window_ms}"

    @hookimpl
    async def cdpd_startup(self) -> None:
        self.state(cache=True)
        self._store = SeenStore.open(self._folder, self.window_ms, OsFiles().boot_id())
        try:
            await self._catch_up()
        except (LogError, OSError) as error:
            # Events are still to be taken in: only the pipeline waits (see cdpd_prepare).
            self.env.log.error("dedup cannot catch up with events yet", error=self._advised(error))

    @hookimpl
    def cdpd_shutdown(self) -> None:
        try:
            self._store.close()
        except OSError as error:
            # The next start makes the store again, should it have to: no reason to call a stop a failure.
            text = "dedup cannot leave its store as cleanly stopped; the next start may read events again"
            self.env.log.warning(text, error=str(error))

    def _advised(self, error: LogError | OSError) -> str:
        """What went wrong, with the ways out where it will not go away by itself."""
        if not isinstance(error, Damage):
            return str(error)
        return (
            f"{error}. To go on, restore {error.path.name} from a backup, or take {self.env.name!r} out of "
            "`hooks` in [pipeline] (and in [sources]) until then, and `cdpd reload`"
        )

    async def _catch_up(self) -> None:
        """Take in what is in `events` beyond the store's position. Raises LogError, OSError."""
        streams, store = self.env.streams, self._store
        position = store.position
        if position == BEGINNING:
            since = self.env.clock.now_ms() - self.window_ms - SLACK_MS
            position = streams.at_time("events", max(since, 0))
        reader = streams.reader("events", position)
        try:
            while (piece := reader.read()) is not None:
                store.add(self._ids(piece), piece.end)
                await anyio.lowlevel.checkpoint()
            if reader.position != store.position:  # nothing there is of the window
                store.add((), reader.position)
        except InvalidCursor as error:
            if store.position == BEGINNING:
                raise
            self.env.log.warning("the store of ids is not of this log; it is made again", reason=str(error))
            await self._start_over()
        finally:
            reader.close()

    async def _start_over(self) -> None:
        self._store.close()
        if self._folder.exists():  # not where the last attempt got no further
            rmtree(self._folder)
        self._digests.clear()
        self._store = SeenStore.open(self._folder, self.window_ms, OsFiles().boot_id())
        await self._catch_up()

    def _ids(self, piece: Slice) -> Iterator[tuple[bytes, int]]:
        digest = self._store.digest
        for frame in piece.frames:
            for text in frame.lines:
                if text:
                    line = _decode(text)
                    yield digest(line.project_id, line.message_id), self._time_of(line.received_at, frame)

    def _time_of(self, received_at: str, frame: Frame) -> int:
        at = self._times.get(received_at)
        if at is None:
            if len(self._times) > 4096:
                self._times.clear()
            at = self._times[received_at] = parse_time(received_at) or 0
        return at if at >= frame.first_ms - _LATE_MS else frame.last_ms

    # -- events --------------------------------------------------------------------------------------------------

    @hookimpl
    def cdpd_prepare(self, events: Sequence[Event]) -> Awaitable[None] | None:
        behind = self.env.streams.end("events").offset != self._store.position.offset
        if not behind and len(events) <= _AT_ONCE:
            self._look_up(events, set(), begin=True)
            return None
        return self._prepare(events, behind)

    async def _prepare(self, events: Sequence[Event], behind: bool) -> None:
        if behind:
            try:
                await self._catch_up()
            except (LogError, OSError) as error:
                raise Retry(f"it cannot catch up with events: {self._advised(error)}") from error
        here: set[bytes] = set()
        for start in range(0, len(events), _AT_ONCE):
            self._look_up(events[start : start + _AT_ONCE], here, begin=not start)
            await anyio.lowlevel.checkpoint()

    def _look_up(self, events: Sequence[Event], here: set[bytes], begin: bool) -> None:
        """Find the duplicates; `here`: the ids that came earlier in the slice."""
        digest_of, seen = self._store.digest, self._store.seen
        digests, duplicates = self._digests, self._duplicates
        if begin:
            duplicates.clear()
            if len(digests) > 100_000:  # of slices that were never committed
                digests.clear()
        for event in events:
            received = event.received
            assert received is not None
            offset = received.position.offset
            digest = digests[offset] = digest_of(received.source, received.message_id)
            if digest in here or seen(digest, _time(received)):
                duplicates.add(offset)
            else:
                here.add(digest)

    @hookimpl
    def cdpd_filter(self, event: Event) -> Discard | None:
        if not self._duplicates:
            return None
        received = event.received
        assert received is not None
        return DUPLICATE if received.position.offset in self._duplicates else None

    @hookimpl
    def cdpd_committed(self, events: Sequence[Event], position: Position) -> None:
        store, digests = self._store, self._digests
        if not self._tidied:
            self._tidy()
        if store.position.offset != position.offset - len(events):
            return  # something before these is missing: the next cdpd_prepare reads it from the log
        ids: list[tuple[bytes, int]] = []
        for event in events:
            received = event.received
            assert received is not None
            digest = digests.pop(received.position.offset, None)
            ids.append((digest or store.digest(received.source, received.message_id), _time(received)))
        store.add(ids, position)

    def _tidy(self) -> None:
        """Remove the stores of windows that are no longer configured."""
        self._tidied = True
        for path in self.env.state_dir.glob("window-*"):
            if path != self._folder:
                SeenStore.remove_unused(path)


def _time(received: Received) -> int:
    """The time of a receipt that the window is measured from: receivedAt, but of a retried event log time."""
    return received.at_ms if received.at_ms >= received.log_ms - _LATE_MS else received.log_ms
