"""FORMAT.md against the code: a reader written from that page alone reads what cdpd writes."""

from __future__ import annotations

import struct
from pathlib import Path

import anyio
import pytest
import zstandard

from cdpd.event import BEGINNING, Position
from cdpd.log.frame import Cursor
from cdpd.log.stream import StreamOptions, open_stream
from tests.clock import FakeClock


def checksum(data: bytes) -> int:
    """CRC-32C, bit by bit, from its definition."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def read_mark(folder: Path) -> dict[str, int | bytes]:
    data = (folder / "mark").read_bytes()
    names = ("magic", "version", "boot", "epoch", "end", "segment", "size", "last_frame", "last_time", "head")
    mark = dict(zip(names, struct.unpack_from("<4sI16sQQQQQqI", data), strict=True))
    assert struct.unpack_from("<I", data, 76)[0] == checksum(data[:76])
    assert (mark["magic"], mark["version"]) == (b"CDPM", 1)
    return mark


def read_header(data: bytes, at: int) -> dict[str, object]:
    magic, length = struct.unpack_from("<II", data, at)
    assert magic == 0x184D2A5C
    names = (
        "magic", "version", "flags", "zero", "base", "count", "body_length", "content_length", "body_checksum",
        "first_time", "last_time", "epoch", "configuration",
    )  # fmt: skip
    fixed = struct.unpack_from("<4sBBHQIIIIqqQQ", data, at + 8)
    header: dict[str, object] = dict(zip(names, fixed, strict=True))
    assert header["magic"] == b"CDPD"
    assert header["version"] == 1
    assert header["zero"] == 0
    part = at + 72
    flags = fixed[2]
    assert flags < 128
    if flags & 2:
        header["cursor"] = struct.unpack_from("<QQQ", data, part)
        part += 24
    if flags & 4:
        origins: list[int] = []
        for _ in range(fixed[5]):
            number = shift = 0
            while True:
                byte = data[part]
                part += 1
                number |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            origins.append(number + (origins[-1] if origins else 0))
        header["origins"] = origins
    if flags & 8:
        (entries,) = struct.unpack_from("<I", data, part)
        header["lineage"] = [struct.unpack_from("<QQ", data, part + 4 + 16 * i) for i in range(entries)]
        part += 4 + 16 * entries
    if flags & 32:

        def varint() -> int:
            nonlocal part
            number = shift = 0
            while True:
                byte = data[part]
                part += 1
                number |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return number

        header["parts"] = parts = []
        time = fixed[9]
        for _ in range(varint()):
            count, since, span = varint(), varint(), varint()
            parts.append((count, time + since, time + since + span))
            time += since + span
        assert time == fixed[10]
    assert part == at + 4 + length, "the parts fill the header"
    header["checksum"] = struct.unpack_from("<I", data, part)[0]
    assert header["checksum"] == checksum(data[at:part])
    header["body_at"] = part + 4
    return header


def read_stream(folder: Path) -> tuple[list[bytes], list[dict[str, object]]]:
    """All lines (b"" for holes) and headers up to the mark."""
    mark = read_mark(folder)
    segments = sorted(
        path for path in folder.glob("*.ndjson.zst") if int(path.name[:20]) <= int(mark["segment"])
    )
    lines: list[bytes] = []
    headers: list[dict[str, object]] = []
    for i, path in enumerate(segments):
        data = path.read_bytes()
        offset, at = int(path.name[:20]), 0
        live = offset == mark["segment"]
        following = None if live else int(segments[i + 1].name[:20])
        while at < int(mark["size"]) if following is None else offset < following:
            header = read_header(data, at)
            if at == 0:
                assert header["count"] == 0
                assert "lineage" in header
                if live:
                    assert header["checksum"] == mark["head"]
            if live and at == mark["last_frame"]:
                assert (header["epoch"], header["last_time"]) == (mark["epoch"], mark["last_time"])
            assert header["base"] == offset
            body = data[int(header["body_at"]) :][: int(header["body_length"])]  # type: ignore[call-overload]
            assert checksum(body) == header["body_checksum"]
            if header["count"]:
                content = zstandard.ZstdDecompressor().decompress(body)
                assert len(content) == header["content_length"]
                assert content.endswith(b"\n")
                found = content[:-1].split(b"\n")
                assert len(found) == header["count"]
                lines += found
            headers.append(header)
            offset += int(header["count"])  # type: ignore[call-overload]
            at = int(header["body_at"]) + len(body)  # type: ignore[call-overload]
    assert offset == mark["end"]
    return lines, headers


async def test_a_reader_made_from_the_page_alone_reads_everything(tmp_path: Path) -> None:
    folder, clock = tmp_path / "events", FakeClock(1_700_000_000_000)
    expected: list[bytes] = []
    cursors: list[tuple[int, int, int]] = []
    origins: list[int] = []
    epochs = []
    for start in range(2):
        async with open_stream(
            folder, clock=clock, options=StreamOptions(segment_bytes=900), report=pytest.fail
        ) as stream:
            for i in range(12):
                lines = [b'{"n":%d,"x":"%s"}' % (i, b"%x" % (7**i)) for _ in range(i % 4)]
                own = [200 * start + 10 * i + k * (130 if i == 3 else 1) for k in range(len(lines))]
                cursor = Cursor(Position(offset=1000 * start + i, epoch=77), i // 2)
                done = await stream.append(
                    lines, config_id=start + 5, cursor=cursor, origins=own,
                    first_ms=1_600_000_000_000 + i, last_ms=1_600_000_000_500 + i,
                )  # fmt: skip
                expected += lines
                cursors.append((77, 1000 * start + i, i // 2))
                origins += own
                epochs.append(done.end.epoch)
    found, headers = read_stream(folder)
    assert found == expected
    assert len(list(folder.glob("*.ndjson.zst"))) > 2
    frames = [header for header in headers if "lineage" not in header]
    assert [header["cursor"] for header in frames] == cursors
    assert [origin for header in frames for origin in header["origins"]] == origins  # type: ignore[attr-defined]
    assert [header["epoch"] for header in frames] == epochs
    assert [header["configuration"] for header in frames] == [5] * 12 + [6] * 12
    times = [header["first_time"] for header in headers]
    assert times == sorted(times)  # type: ignore[type-var]
    lineage = [header["lineage"] for header in headers if "lineage" in header][-1]
    assert lineage == [(epochs[0], 0), (epochs[-1], 18)]


async def test_an_append_larger_than_a_frame_says_that_it_goes_on(tmp_path: Path) -> None:
    lines = [b'{"x":"%s"}' % (b"%d" % i * 200_000) for i in range(8)]
    lines.append(b'{"x":"%s"}' % (b"y" * 1_500_000))
    async with open_stream(
        tmp_path / "received", clock=FakeClock(), options=StreamOptions(), report=pytest.fail
    ) as stream:
        await stream.append(lines, config_id=1)
        await stream.append([b"{}"], config_id=1)
    found, headers = read_stream(tmp_path / "received")
    assert found == [*lines, b"{}"]
    assert [(header["count"], header["flags"]) for header in headers[1:]] == [
        (5, 16),
        (3, 16),
        (1, 0),
        (1, 0),
    ]
    assert all(int(str(header["content_length"])) <= 1 << 20 for header in headers if header["count"] != 1)


async def test_appends_made_together_share_frames_but_never_across_configurations(tmp_path: Path) -> None:
    async with open_stream(
        tmp_path / "received", clock=FakeClock(), options=StreamOptions(), report=pytest.fail
    ) as stream:
        async with anyio.create_task_group() as senders:

            async def send(i: int) -> None:
                await stream.append([b'{"n":%d}' % i] * 2, config_id=1 + i // 20)

            for i in range(30):
                senders.start_soon(send, i)
        assert stream.reader(BEGINNING).read() is not None
    found, headers = read_stream(tmp_path / "received")
    assert len(found) == 60
    assert [(header["configuration"], header["count"]) for header in headers[1:]] == [(1, 40), (2, 20)]


async def test_appends_made_together_share_frames_of_a_mebibyte_at_most(tmp_path: Path) -> None:
    async with open_stream(
        tmp_path / "received", clock=FakeClock(), options=StreamOptions(), report=pytest.fail
    ) as stream:

        async def send(i: int) -> None:
            await stream.append([b'{"x":"%s"}' % (b"%d" % i * 400_000)], config_id=1)

        async with anyio.create_task_group() as senders:
            for i in range(10):
                senders.start_soon(send, i)
    found, headers = read_stream(tmp_path / "received")
    assert len(found) == 10
    assert [header["count"] for header in headers[1:]] == [2, 2, 2, 2, 2]
    assert [header["flags"] for header in headers[1:]] == [0] * 5


def test_the_definition_of_the_checksum_is_the_usual_one() -> None:
    assert checksum(b"123456789") == 0xE3069283
