"""Frames: a zstd skippable frame (our header) followed by one zstd frame of NDJSON. Layout: FORMAT.md."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

import google_crc32c
import zstandard
from msgspec import Struct

from cdpd.event import Position

SKIPPABLE_MAGIC: Final = 0x184D2A5C
HEADER_MAGIC: Final = b"CDPD"
VERSION: Final = 1
MAX_CONTENT: Final = 1024 * 1024
"""Most uncompressed bytes in one frame."""
MAX_HEADER: Final = 16 * 1024 * 1024

HAS_HOLES: Final = 1
HAS_CURSOR: Final = 2
HAS_ORIGINS: Final = 4
HAS_LINEAGE: Final = 8
CONTINUES: Final = 16
"""The append goes on in the next frame: recovery keeps all frames of an append or none."""
HAS_PARTS: Final = 32
COMPACT: Final = 64
"""Of a segment's first frame: it was recompressed, nothing is to be gained any more."""
_KNOWN: Final = HAS_HOLES | HAS_CURSOR | HAS_ORIGINS | HAS_LINEAGE | CONTINUES | HAS_PARTS | COMPACT

# magic, version, flags, reserved, base, count, body length, content length, body crc, first ms, last ms,
# epoch, configuration id
_FIXED = struct.Struct("<4sBBHQIIIIqqQQ")
_OUTER = struct.Struct("<II")
_CRC = struct.Struct("<I")
_CURSOR = struct.Struct("<QQQ")
_LINEAGE_ENTRY = struct.Struct("<QQ")
PREFIX: Final = _OUTER.size
"""Bytes before the header proper: the skippable frame's magic and length."""


class Cursor(Struct, frozen=True):
    """What a frame of `events` names: how far the pipeline had come when it was written."""

    received: Position
    """Everything of `received` before this has been handled."""
    discarded: int
    """The end offset of `discarded` at that moment."""


class Start(Struct, frozen=True):
    """One start of a writer: its epoch, and the offset of the first line it wrote."""

    epoch: int
    base: int


class Part(Struct, frozen=True):
    """A frame that was merged into a larger one: its number of lines, and the log times of its first and last."""

    count: int
    first_ms: int
    last_ms: int


class Header(Struct):
    """A frame's header, decoded."""

    base: int
    count: int
    body_length: int
    content_length: int
    body_crc: int
    first_ms: int
    last_ms: int
    epoch: int
    config_id: int
    flags: int = 0
    cursor: Cursor | None = None
    origins: Sequence[int] | None = None
    lineage: Sequence[Start] | None = None
    parts: Sequence[Part] | None = None
    length: int = 0
    """Bytes of the whole header, with the skippable frame's own eight."""

    @property
    def end(self) -> int:
        return self.base + self.count


class BadFrame(Exception):
    """These bytes are no valid frame; the text says why."""


class NewerVersion(Exception):
    """A header of a version that this code does not know."""


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli)."""
    value: int = google_crc32c.value(data)
    return value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varints(numbers: Sequence[int]) -> bytes:
    """First number and then the differences, as unsigned LEB128; numbers never go down."""
    deltas = [b - a for a, b in pairwise(numbers)]
    first = _varint(numbers[0])
    if not deltas or max(deltas) < 0x80:
        return first + bytes(deltas)
    return first + b"".join(map(_varint, deltas))


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _numbers(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    if not count:
        return [], at
    total, at = _read_varint(data, at)
    rest = count - 1
    short = data[at : at + rest]
    if short.isascii() and len(short) == rest:  # every difference fits in one byte
        return list(accumulate(short, initial=total)), at + rest
    numbers = [total]
    for _ in range(rest):
        delta, at = _read_varint(data, at)
        total += delta
        numbers.append(total)
    return numbers, at


def _part_bytes(parts: Sequence[Part]) -> bytes:
    out, before = [_varint(len(parts))], parts[0].first_ms
    for part in parts:
        out += [
            _varint(part.count),
            _varint(part.first_ms - before),
            _varint(part.last_ms - part.first_ms),
        ]
        before = part.last_ms
    return b"".join(out)


def _read_parts(data: bytes, at: int, before: int) -> tuple[list[Part], int]:
    parts: list[Part] = []
    number, at = _read_varint(data, at)
    for _ in range(number):
        count, at = _read_varint(data, at)
        since, at = _read_varint(data, at)
        span, at = _read_varint(data, at)
        parts.append(Part(count, before + since, before + since + span))
        before += since + span
    return parts, at


def encode_header(header: Header) -> bytes:
    """The header's bytes, skippable frame and checksum included.

    Of `flags` only HAS_HOLES, CONTINUES and COMPACT are heeded; the others follow from what is there.
    """
    flags = header.flags & (HAS_HOLES | CONTINUES | COMPACT)
    tail = b""
    if header.cursor is not None:
        flags |= HAS_CURSOR
        at = header.cursor.received
        tail += _CURSOR.pack(at.epoch, at.offset, header.cursor.discarded)
    if header.origins is not None:
        flags |= HAS_ORIGINS
        tail += _varints(header.origins) if header.origins else b""
    if header.lineage is not None:
        flags |= HAS_LINEAGE
        tail += _CRC.pack(len(header.lineage))
        tail += b"".join(_LINEAGE_ENTRY.pack(start.epoch, start.base) for start in header.lineage)
    if header.parts:
        flags |= HAS_PARTS
        tail += _part_bytes(header.parts)
    fixed = _FIXED.pack(
        HEADER_MAGIC,
        VERSION,
        flags,
        0,
        header.base,
        header.count,
        header.body_length,
        header.content_length,
        header.body_crc,
        header.first_ms,
        header.last_ms,
        header.epoch,
        header.config_id,
    )
    body = fixed + tail
    outer = _OUTER.pack(SKIPPABLE_MAGIC, len(body) + _CRC.size)
    return outer + body + _CRC.pack(crc32c(outer + body))


def header_length(prefix: bytes) -> int:
    """Bytes of the whole header, from its first eight. Raises BadFrame."""
    if len(prefix) < PREFIX:
        raise BadFrame("the frame's header is cut short")
    magic, length = _OUTER.unpack(prefix)
    if magic != SKIPPABLE_MAGIC:
        raise BadFrame("no frame starts here")
    if not _FIXED.size + _CRC.size <= length <= MAX_HEADER:
        raise BadFrame("the frame's header has an impossible length")
    return PREFIX + int(length)


def decode_header(data: bytes) -> Header:
    """A header from exactly its bytes (`header_length` says how many). Raises BadFrame, NewerVersion."""
    length = header_length(data[:PREFIX])
    if len(data) < length:
        raise BadFrame("the frame's header is cut short")
    body = data[:length]
    if crc32c(body[: -_CRC.size]) != _CRC.unpack(body[-_CRC.size :])[0]:
        raise BadFrame("the frame's header does not match its checksum")
    magic, version, flags, _, base, count, body_length, content_length, crc, first, last, epoch, config = (
        _FIXED.unpack_from(body, PREFIX)
    )
    if magic != HEADER_MAGIC:
        raise BadFrame("the frame's header is not cdpd's")
    if version > VERSION:
        raise NewerVersion(f"format version {version}, this cdpd reads up to {VERSION}")
    if flags & ~_KNOWN:
        raise NewerVersion(f"format flags {flags:#x}, this cdpd knows {_KNOWN:#x}")
    at = PREFIX + _FIXED.size
    cursor = None
    if flags & HAS_CURSOR:
        received_epoch, received_offset, discarded = _CURSOR.unpack_from(body, at)
        cursor = Cursor(Position(offset=received_offset, epoch=received_epoch), discarded)
        at += _CURSOR.size
    origins = None
    if flags & HAS_ORIGINS:
        origins, at = _numbers(body, at, count)
    lineage = None
    if flags & HAS_LINEAGE:
        entries = _CRC.unpack_from(body, at)[0]
        at += _CRC.size
        lineage = [Start(*_LINEAGE_ENTRY.unpack_from(body, at + 16 * i)) for i in range(entries)]
        at += _LINEAGE_ENTRY.size * entries
    parts = None
    if flags & HAS_PARTS:
        parts, at = _read_parts(body, at, first)
        if sum(part.count for part in parts) != count:
            raise BadFrame("the parts of the frame have another number of lines than its header says")
    return Header(
        base,
        count,
        body_length,
        content_length,
        crc,
        first,
        last,
        epoch,
        config,
        flags,
        cursor,
        origins,
        lineage,
        parts,
        length,
    )


def encode_frame(
    codec: Codec,
    content: bytes,
    *,
    base: int,
    count: int,
    first_ms: int,
    last_ms: int,
    epoch: int,
    config_id: int,
    flags: int = 0,
    cursor: Cursor | None = None,
    origins: Sequence[int] | None = None,
    lineage: Sequence[Start] | None = None,
    parts: Sequence[Part] | None = None,
) -> tuple[Header, bytes]:
    """A frame's header, and all its bytes. A frame without lines has no body at all."""
    body = codec.compress(content) if count else b""
    header = Header(
        base, count, len(body), len(content), crc32c(body), first_ms, last_ms, epoch, config_id,
        flags, cursor, origins, lineage, parts,
    )  # fmt: skip
    encoded = encode_header(header)
    header.length = len(encoded)
    return header, encoded + body


_AS_WRITTEN: Final = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=17,
    hash_log=13,
    chain_log=13,
    search_log=1,
    min_match=7,
    write_content_size=1,
)
"""Tables that stay small: level 1 takes 16.7 µs for a frame of one event, this 7; of 64 events 2.6 and 2.4 an event,
for 1 to 3 % more bytes. Recompression makes up for these."""


class Codec:
    """Compresses and expands bodies; one instance for each thread that uses it."""

    def __init__(self, level: int | None = None) -> None:
        """`level`: zstd's own, for what is compressed in the background; without it as fast as frames need it."""
        parameters = _AS_WRITTEN if level is None else zstandard.ZstdCompressionParameters.from_level(level)
        self._compress = zstandard.ZstdCompressor(compression_params=parameters).compress
        self._expand = zstandard.ZstdDecompressor().decompress

    def compress(self, content: bytes) -> bytes:
        return self._compress(content)

    def expand(self, header: Header, body: bytes) -> list[bytes]:
        """A body's lines, without line breaks; b"" is a hole. Raises BadFrame."""
        lines = self.content(header, body).split(b"\n")
        if lines.pop() or len(lines) != header.count:
            raise BadFrame("the frame's body has another number of lines than its header says")
        return lines

    def content(self, header: Header, body: bytes) -> bytes:
        """A body's lines as they are in the frame; only their number is not checked. Raises BadFrame."""
        if len(body) != header.body_length:
            raise BadFrame("the frame's body is cut short")
        if crc32c(body) != header.body_crc:
            raise BadFrame("the frame's body does not match its checksum")
        if not header.count:
            return b""
        try:
            content = self._expand(body, max_output_size=header.content_length)
        except zstandard.ZstdError as error:
            raise BadFrame(f"the frame's body cannot be expanded: {error}") from error
        if len(content) != header.content_length:
            raise BadFrame("the frame's body has another length than its header says")
        return content


def split_lines(lines: Sequence[bytes], limit: int) -> Iterator[tuple[int, int]]:
    """Ranges [from, to) of `lines` that each fit in one frame, in order; none for no lines."""
    start = size = 0
    for i, line in enumerate(lines):
        size += len(line) + 1
        if size > limit and i > start:
            yield start, i
            start, size = i, len(line) + 1
    if start < len(lines):
        yield start, len(lines)
