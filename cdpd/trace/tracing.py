"""The whole of a trace: the id is looked for in the three streams, and from what is there the story is made."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.data_folder import STREAMS, stream_folder
from cdpd.config.load import LoadedConfig
from cdpd.config.plugin_options import Catalogue
from cdpd.delivery.state import StateError
from cdpd.log.errors import LogError
from cdpd.log.files import Files, OsFiles
from cdpd.log.mark import read_mark
from cdpd.log.segment import segment_bases
from cdpd.log.single import SingleLine
from cdpd.trace.fates import NOTHING_KEPT, Fates, kept_of
from cdpd.trace.lookup import Looked, Lookup
from cdpd.trace.places import offsets_of, pipeline_at, times_of
from cdpd.trace.receipts import configuration_text, receipts_of
from cdpd.trace.story import Receipt, Searched, Story
from cdpd.trace.tried_again import try_again
from cdpd.upkeep import DEFAULT_KEEP


class Wanted(Struct, frozen=True):
    """Which event is meant."""

    message_id: str
    source: str | None = None
    from_ms: int | None = None
    """It came in at or after this time …"""
    to_ms: int | None = None
    """… and before this one."""


async def trace(
    data_dir: Path,
    wanted: Wanted,
    loaded: LoadedConfig | None,
    catalogue: Catalogue,
    clock: Clock,
    telling: Callable[[str, int], None] = lambda _, __: None,
) -> Story:
    """The story; one without receipts where there is no such event.

    `loaded`: None where the configuration cannot be used; then hooks and destinations are left out. `telling`: told
    (from a thread) of a stream of which so many lines have to be read. Raises LogError, OSError.
    """
    files = OsFiles()
    at = pipeline_at(files, stream_folder(data_dir, "events"))  # first: what it came past is found then
    with ThreadPoolExecutor(len(STREAMS)) as threads:
        looks = [threads.submit(_look, files, data_dir, stream, wanted, telling) for stream in STREAMS]
        looked = {one.result().stream: one.result() for one in looks}
    story = Story(
        wanted.message_id,
        clock.now_ms(),
        [_searched(files, data_dir, one, loaded) for one in looked.values()],
        configuration="" if loaded is None else configuration_text(loaded.config_id),
    )
    hits = {stream: one.hits for stream, one in looked.items()}
    if looked["received"].more:
        hits["received"] += _left_out(Lookup(data_dir, "received", files), hits)
    pairs = receipts_of(hits["received"], hits["events"], hits["discarded"], at)
    pairs = [(receipt, line) for receipt, line in pairs if _meant(receipt, wanted)]
    story.receipts = [receipt for receipt, _ in pairs]
    if loaded is not None:
        await try_again(pairs, loaded, catalogue, clock)
        _tell_fates(story, data_dir, hits["events"], loaded, catalogue, clock)
    return story


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


def _searched(files: Files, data_dir: Path, looked: Looked, loaded: LoadedConfig | None) -> Searched:
    folder = stream_folder(data_dir, looked.stream)
    bases, mark = segment_bases(files, folder), read_mark(files, folder)
    told = Searched(looked.stream, looked.first, looked.end, more=looked.more, scanned=looked.scanned)
    told.unread = [f"{one.first:,} to {one.end - 1:,}: {one.reason}" for one in looked.unread]
    if bases and mark is not None and looked.end > looked.first:
        first, last = bisect_right(bases, looked.first) - 1, bisect_left(bases, looked.end) - 1
        told.from_ms = times_of(files, folder, bases[max(first, 0)])[0] or None
        told.to_ms = (
            mark.last_ms if last == len(bases) - 1 else times_of(files, folder, bases[last])[1] or None
        )
    if loaded is not None:
        told.keep = getattr(loaded.config.log, looked.stream).keep or DEFAULT_KEEP[looked.stream]
    return told


def _meant(receipt: Receipt, wanted: Wanted) -> bool:
    at = receipt.log_ms or receipt.at_ms
    return (
        wanted.source in (None, receipt.source)
        and (wanted.from_ms is None or at is None or at >= wanted.from_ms)
        and (wanted.to_ms is None or at is None or at < wanted.to_ms)
    )


def _tell_fates(
    story: Story,
    data_dir: Path,
    lines: Sequence[SingleLine],
    loaded: LoadedConfig,
    catalogue: Catalogue,
    clock: Clock,
) -> None:
    """What became of each archived event at the destinations."""
    archived = {
        receipt.archived.offset: receipt for receipt in story.receipts if receipt.archived is not None
    }
    if not archived:
        return
    fates = Fates(loaded, catalogue, clock)
    for line in lines:
        receipt = archived.get(line.position.offset)
        if receipt is None:
            continue
        try:
            kept = kept_of(data_dir, story.message_id, line)
        except StateError as error:
            story.notes.append(f"what became of it at destinations is not known: {error}")
            return
        receipt.destinations = list(fates.of(line, kept or NOTHING_KEPT))
