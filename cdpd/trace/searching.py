"""The search of a trace: the lines with an id in all streams. It needs no configuration, so it may begin early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from cdpd.config.data_folder import STREAMS, stream_folder
from cdpd.log.errors import LogError
from cdpd.log.files import Files, OsFiles
from cdpd.log.single import SingleLine
from cdpd.trace.lookup import Looked, Lookup
from cdpd.trace.places import offsets_of, pipeline_at


class Wanted(Struct, frozen=True):
    """Which event is meant."""

    message_id: str
    source: str | None = None
    from_ms: int | None = None
    """It came in at or after this time …"""
    to_ms: int | None = None
    """… and before this one."""


class Search(Struct, frozen=True):
    """What was found."""

    data_dir: Path
    wanted: Wanted
    looked: Mapping[str, Looked]
    """By stream."""
    pipeline_at: int
    """How far the pipeline had come in `received` before: what it came past is found."""


def search(
    data_dir: Path, wanted: Wanted, telling: Callable[[str, int], None] = lambda _, __: None
) -> Search:
    """Look in all streams at once. `telling`: told (from a thread) of a stream of which so many lines have to be read.

    Raises LogError, OSError.
    """
    files = OsFiles()
    at = pipeline_at(files, stream_folder(data_dir, "events"))
    with ThreadPoolExecutor(len(STREAMS)) as threads:
        looks = [threads.submit(_look, files, data_dir, stream, wanted, telling) for stream in STREAMS]
        looked = {one.result().stream: one.result() for one in looks}
    if looked["received"].more:
        hits = {stream: one.hits for stream, one in looked.items()}
        looked["received"].hits += _left_out(Lookup(data_dir, "received", files), hits)
    return Search(data_dir, wanted, looked, at)


def _look(
    files: Files, data_dir: Path, stream: str, wanted: Wanted, telling: Callable[[str, int], None]
) -> Looked:
    # What is turned away is written when it is, which may be long after it came in.
    to_ms = None if stream == "discarded" else wanted.to_ms
    first, end = offsets_of(files, stream_folder(data_dir, stream), wanted.from_ms, to_ms)
    lookup = Lookup(data_dir, stream, files)
    return lookup.find(wanted.message_id, first, end, lambda lines: telling(stream, lines))


def _left_out(received: Lookup, hits: Mapping[str, Sequence[SingleLine]]) -> list[SingleLine]:
    """The lines of `received` that archived events came of, where there are too many to have them all."""
    have = {line.position.offset for line in hits["received"]}
    found = []
    for line in hits["events"]:
        if line.origin is not None and line.origin not in have:
            try:
                found.append(received.line(line.origin))
            except LogError:
                pass  # told as no longer there
    return [line for line in found if line.text]
