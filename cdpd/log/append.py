"""Appends on their way to the disk, and the frames that they make.

An append is written whole or not at all: its frames lie in one segment, and all but its last say that it goes
on (CONTINUES). Appends of one configuration that carry nothing of their own share frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from cdpd.event import Position
from cdpd.log.frame import CONTINUES, MAX_CONTENT, Codec, Cursor, Header, encode_frame, split_lines


class Appended(Struct, frozen=True):
    """Where an append went."""

    first: int
    """Offset of its first line."""
    end: Position
    """Right after its last."""


class Unit(Struct):
    """One append."""

    lines: Sequence[bytes]
    size: int
    """Bytes of the lines, with their line breaks."""
    config_id: int
    first_ms: int | None = None
    last_ms: int | None = None
    cursor: Cursor | None = None
    origins: Sequence[int] | None = None
    publish: bool = True
    first: int = 0
    end: Position | None = None
    fault: str | None = None
    """Why it cannot be written, found before anything was."""

    @property
    def plain(self) -> bool:
        """Whether it may share a frame with others."""
        return self.cursor is None and self.origins is None and self.first_ms is None and self.last_ms is None


class Group:
    """Appends that go out together, and who waits for them.

    A future each, and not one event for all: anyio's costs several times as much, and every request waits here.
    """

    __slots__ = ("_loop", "_over", "_then", "_waiting", "failure", "size", "units")

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self.size = 0
        """Bytes of their lines."""
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._then: list[tuple[Unit, Callable[[str | None], None]]] = []
        self._over = False
        self.failure: str | None = None

    def add(self, unit: Unit) -> Unit:
        """Let it go out with the others."""
        self.units.append(unit)
        self.size += unit.size
        return unit

    def fail(self, why: str) -> None:
        """Wake them all: none was written."""
        self.failure = why
        self.end()

    def end(self) -> None:
        """Wake them all, and call those that asked for it: each sees to it that it does not raise."""
        self._over = True
        for unit, then in self._then:
            then(self.failure or unit.fault)
        self._then.clear()
        for waiting in self._waiting:
            if not waiting.done():  # one that was cancelled is
                waiting.set_result(None)
        self._waiting.clear()

    def then(self, unit: Unit, call: Callable[[str | None], None]) -> None:
        """Have `call` called at the end, with why the unit was not written or None."""
        self._then.append((unit, call))

    async def ended(self) -> None:
        """Return once they are written, or will not be."""
        if not self._over:
            waiting = self._loop.create_future()
            self._waiting.append(waiting)
            await waiting


class FrameContent(Struct):
    """What one frame is going to hold."""

    base: int
    epoch: int
    config_id: int
    content: bytes
    count: int
    units: range
    """Which appends end in this frame."""
    first_ms: int | None = None
    last_ms: int | None = None
    cursor: Cursor | None = None
    origins: Sequence[int] | None = None
    continues: bool = False

    def encode(
        self, codec: Codec, before_ms: int, now_ms: int, cursor: Cursor | None
    ) -> tuple[Header, bytes]:
        """The frame. Its log time is never before `before_ms`, that of the frame before it."""
        first_ms = max(now_ms if self.first_ms is None else self.first_ms, before_ms)
        last_ms = max(now_ms if self.last_ms is None else self.last_ms, first_ms)
        return encode_frame(
            codec,
            self.content,
            base=self.base,
            count=self.count,
            first_ms=first_ms,
            last_ms=last_ms,
            epoch=self.epoch,
            config_id=self.config_id,
            flags=CONTINUES if self.continues else 0,
            cursor=None if self.continues else cursor,
            origins=self.origins,
        )


def lay_out(units: Sequence[Unit], offset: int, epoch: int) -> list[FrameContent]:
    """The frames for these appends, in order, from `offset` on. Sets `first`, `end` and `fault` of each."""
    frames: list[FrameContent] = []
    shared: list[bytes] = []
    size = count = shared_from = 0

    def close_shared(until: int) -> None:
        nonlocal size, count
        if count:
            frames.append(
                FrameContent(
                    base=offset - count,
                    epoch=epoch,
                    config_id=units[shared_from].config_id,
                    content=b"".join(shared),
                    count=count,
                    units=range(shared_from, until),
                )
            )
            shared.clear()
            size = count = 0

    for i, unit in enumerate(units):
        unit.first = offset
        lines = unit.lines
        content = lines[0] + b"\n" if len(lines) == 1 else b"\n".join((*lines, b"")) if lines else b""
        unit.fault = _fault(unit, content)
        together = unit.fault is None and unit.plain and unit.size <= MAX_CONTENT
        if count and not (
            together and unit.config_id == units[shared_from].config_id and size + unit.size <= MAX_CONTENT
        ):
            close_shared(i)
        if unit.fault is None and together and unit.lines:
            if not count:
                shared_from = i
            shared.append(content)
            size += unit.size
            count += len(unit.lines)
        elif unit.fault is None and (unit.lines or unit.cursor is not None):
            frames.extend(_alone(unit, i, content, offset, epoch))
        if unit.fault is None:
            offset += len(unit.lines)
        unit.end = Position(offset=offset, epoch=epoch)
    close_shared(len(units))
    return frames


def _alone(unit: Unit, i: int, content: bytes, offset: int, epoch: int) -> Iterator[FrameContent]:
    ranges = list(split_lines(unit.lines, MAX_CONTENT)) or [(0, 0)]
    for start, end in ranges:
        last = end == len(unit.lines)
        yield FrameContent(
            base=offset + start,
            epoch=epoch,
            config_id=unit.config_id,
            content=content if len(ranges) == 1 else b"\n".join(unit.lines[start:end]) + b"\n",
            count=end - start,
            first_ms=unit.first_ms,
            last_ms=unit.last_ms,
            cursor=unit.cursor if last else None,
            origins=None if unit.origins is None else unit.origins[start:end],
            continues=not last,
            units=range(i, i + 1) if last else range(0),
        )


def _fault(unit: Unit, content: bytes) -> str | None:
    """What would make a frame that nobody can read."""
    for line in unit.lines:  # looking for one in each is many times as fast as counting them in all
        if b"\n" in line:
            return "a line contains a line break"
        if not line:
            return "a line is empty (an empty line means a deleted event)"
    if len(content) > 0xFFFF_FFFF:
        return "the lines are larger than 4 GiB"
    if unit.origins is not None:
        if len(unit.origins) != len(unit.lines):
            return f"{len(unit.origins)} origins for {len(unit.lines)} lines"
        if any(b < a for a, b in pairwise(unit.origins)):
            return "origins go down"
    return None
