"""`cdpd discarded retry`: lines of `discarded` go to `received` again, with `retryOf` and their old receivedAt."""

from __future__ import annotations

from typing import Any, Final

import anyio.lowlevel
import anyio.to_thread
import msgspec
from msgspec import Raw

from cdpd.control.contract import DiscardedFilter
from cdpd.log.readable import ReadableStream
from cdpd.log.reader import Frame
from cdpd.log.stream import Stream
from cdpd.pipeline.discarded import DiscardedLine, decode_discarded
from cdpd.timestamp import parse_time

_AT_ONCE: Final = 500
"""Lines that are appended together."""

_fields_of: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_string: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


async def retry_discarded(
    discarded: ReadableStream, received: Stream, which: DiscardedFilter, *, config_id: int, dry_run: bool
) -> dict[str, Any]:
    """`{"matched", "retried", "skipped"}`. Skipped are lines of which no whole event was kept.

    Events that are in `events` already come to no harm: `dedup` turns them away. Raises AppendFailed; what was
    counted up to then went out.
    """
    matched = skipped = 0
    lines: list[bytes] = []
    end = discarded.end
    reader = discarded.reader()
    try:
        while reader.position.offset < end.offset:
            piece = await anyio.to_thread.run_sync(reader.read)
            if piece is None:
                break
            for frame in piece.frames:
                for line in _matching(frame, which, end.offset):
                    matched += 1
                    again = received_again(line)
                    if again is None:
                        skipped += 1
                    elif not dry_run:
                        lines.append(again)
                await anyio.lowlevel.checkpoint()
            if len(lines) >= _AT_ONCE:
                await received.append(lines, config_id=config_id)
                lines.clear()
    finally:
        reader.close()
    if lines:
        await received.append(lines, config_id=config_id)
    return {"matched": matched, "retried": 0 if dry_run else matched - skipped, "skipped": skipped}


def _matching(frame: Frame, which: DiscardedFilter, end: int) -> list[DiscardedLine]:
    """The lines of a frame that are meant."""
    if which.from_offset is not None and frame.base + frame.count <= which.from_offset:
        return []
    stop = end if which.to_offset is None else min(end, which.to_offset)
    found: list[DiscardedLine] = []
    for offset, text in enumerate(frame.lines, frame.base):
        if offset >= stop:
            break
        if text and (which.from_offset is None or offset >= which.from_offset):
            line = decode_discarded(text)
            if _meant(line, which):
                found.append(line)
    return found


def _meant(line: DiscardedLine, which: DiscardedFilter) -> bool:
    if which.code is not None and line.code != which.code:
        return False
    if which.by is not None and line.by != which.by:
        return False
    if which.from_ms is not None or which.to_ms is not None:
        at = parse_time(line.at) or 0
        if which.from_ms is not None and at < which.from_ms:
            return False
        if which.to_ms is not None and at >= which.to_ms:
            return False
    if which.source is None and which.message_id is None:
        return True
    outer = _outer(line)
    return (which.source is None or _text(outer, "source") == which.source) and (
        which.message_id is None or _text(outer, "messageId") == which.message_id
    )


def _outer(line: DiscardedLine) -> dict[str, Raw]:
    """The fields of the `received` line; none where it is no object."""
    try:
        return _fields_of(line.line)
    except msgspec.DecodeError:
        return {}


def _text(fields: dict[str, Raw], key: str) -> str | None:
    try:
        return _string(fields[key])
    except (KeyError, msgspec.DecodeError):
        return None


def received_again(line: DiscardedLine) -> bytes | None:
    """The line of `received` for another attempt; None where it has no whole event that could be tried.

    What ingest rejected (too large, one too many) is put to the hooks this time: somebody asked for it.
    """
    fields = _outer(line)
    try:
        _fields_of(fields["event"])
    except (KeyError, msgspec.DecodeError):
        return None
    fields.pop("reject", None)
    event = fields.pop("event")
    fields["retryOf"] = Raw(_encode(line.received))
    fields["event"] = event
    return _encode(fields)
