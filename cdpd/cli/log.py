"""`cdpd log`: the stored streams as they are."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from cdpd.cli import log_verify
from cdpd.cli.located import peek_or_stop
from cdpd.cli.log_verify import StreamsArgument
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import columns, print_json, size_text
from cdpd.cli.streams import FromOption, ToOption, open_stream, parse_place
from cdpd.config.data_folder import STREAMS
from cdpd.lines import look_into
from cdpd.log.folder import SegmentInfo, StreamFolder
from cdpd.log.reader import Frame, Reader
from cdpd.timestamp import format_time

app = new_app(
    "Read the stored streams as they are: received (as events came in), events (the archive), discarded.",
    no_args_is_help=True,
)
StreamArgument = Annotated[
    str, typer.Argument(metavar="STREAM", help="received, events or discarded.", show_default=False)
]


@app.command(
    epilog=examples(
        "cdpd log cat events | jq .event",
        "cdpd log cat received --from 2026-01-31 --to 2026-02-01",
        "cdpd log cat events --from 1200 --to 1300 --offsets",
        more="Deleted events leave a hole: they keep their offset, and are skipped. Exits 1 at damage.",
    )
)
def cat(
    stream: StreamArgument,
    start: FromOption = None,
    to: ToOption = None,
    offsets: Annotated[
        bool, typer.Option("--offsets", help="Put each line's offset and a tab before it.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print a stream, one event a line, exactly as stored."""
    folder = open_stream(peek_or_stop(config, data_dir).data_dir, stream)
    now_ms = time.time_ns() // 1_000_000
    first = parse_place("beginning" if start is None else start, folder, now_ms)
    last = None if to is None else parse_place(to, folder, now_ms)
    out = sys.stdout.buffer
    for frame in _frames(folder.reader(first.position(folder))):
        if last is not None and last.passed(frame):
            break
        for offset, line in enumerate(frame.lines, frame.base):

            def at_ms(line: bytes = line) -> int | None:
                return look_into(stream, line).at_ms

            if not line or not first.reached(offset, at_ms) or (last and last.reached(offset, at_ms)):
                continue
            out.write(b"%d\t%s\n" % (offset, line) if offsets else line + b"\n")


def _frames(reader: Reader) -> Iterator[Frame]:
    try:
        while (piece := reader.read()) is not None:
            yield from piece.frames
    finally:
        reader.close()


@app.command(epilog=examples("cdpd log ls", "cdpd log ls events --from 7d --json"))
def ls(
    streams: StreamsArgument = None,
    start: FromOption = None,
    to: ToOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """List the segments, the files that a stream is made of; with --from and --to those that hold any of it."""
    data = peek_or_stop(config, data_dir).data_dir
    found = {name: _segments(open_stream(data, name), start, to) for name in streams or STREAMS}
    if json:
        print_json(
            {
                name: [
                    {
                        "path": str(segment.path), "base": segment.base, "end": segment.end, "bytes": segment.bytes,
                        "first_ms": segment.first_ms, "last_ms": segment.last_ms, "sealed": segment.sealed,
                        "recompressed": segment.recompressed,
                    }
                    for segment in segments
                ]
                for name, segments in found.items()
            }
        )  # fmt: skip
        return
    rows = [
        (
            name, segment.base, segment.end, size_text(segment.bytes), _time(segment.first_ms),
            _time(segment.last_ms), _state(segment), segment.path.name,
        )
        for name, segments in found.items()
        for segment in segments
    ]  # fmt: skip
    header = ("stream", "from", "to", "size", "first", "last", "", "file")
    nothing = "nothing is stored there" if start or to else "nothing is stored yet"
    print(columns(rows, header) if rows else nothing, end="" if rows else "\n")


def _segments(folder: StreamFolder, start: str | None, to: str | None) -> list[SegmentInfo]:
    """Those with a line in [start, to), as far as the log times of their first and last line tell."""
    now_ms = time.time_ns() // 1_000_000
    first = None if start is None else parse_place(start, folder, now_ms)
    last = None if to is None else parse_place(to, folder, now_ms)

    def within(segment: SegmentInfo) -> bool:
        begun = first is None or first.reached(segment.end - 1, lambda: segment.last_ms)
        return begun and not (last and last.reached(segment.base, lambda: segment.first_ms))

    return [segment for segment in folder.segments() if within(segment)]


app.command(
    epilog=examples(
        "cdpd log verify",
        "cdpd log verify events --from 7d",
        "cdpd log verify --json | jq '.[].findings[]'",
        more="Exits 1 where anything is wrong.",
    )
)(log_verify.verify)
app.command(
    epilog=examples(
        "cdpd log repair --dry-run", "cdpd log repair events", more="Exits 2 while a daemon runs."
    )
)(log_verify.repair)


def _state(segment: SegmentInfo) -> str:
    if not segment.sealed:
        return "live"
    return "recompressed" if segment.recompressed else "sealed"


def _time(ms: int) -> str:
    return format_time(ms)[:19].replace("T", " ") if ms else "-"
