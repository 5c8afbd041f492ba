"""From what was found of an id in the three streams to its story."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

from cdpd.clock import Clock
from cdpd.config.data_folder import stream_folder
from cdpd.config.load import LoadedConfig
from cdpd.config.plugin_options import Catalogue
from cdpd.delivery.state import StateError
from cdpd.log.files import Files, OsFiles
from cdpd.log.mark import read_mark
from cdpd.log.segment import segment_bases
from cdpd.log.single import SingleLine
from cdpd.trace.fates import NOTHING_KEPT, Fates, kept_of
from cdpd.trace.lookup import Looked
from cdpd.trace.places import times_of
from cdpd.trace.receipts import configuration_text, receipts_of
from cdpd.trace.searching import Search, Wanted
from cdpd.trace.story import Receipt, Searched, Story
from cdpd.trace.tried_again import try_again
from cdpd.upkeep import DEFAULT_KEEP


async def trace(found: Search, loaded: LoadedConfig | None, catalogue: Catalogue, clock: Clock) -> Story:
    """The story of what was found; one without receipts where there is no such event.

    `loaded`: None where the configuration cannot be used; then hooks and destinations are left out.
    """
    files, data_dir, wanted = OsFiles(), found.data_dir, found.wanted
    story = Story(
        wanted.message_id,
        clock.now_ms(),
        [_searched(files, data_dir, one, loaded) for one in found.looked.values()],
        configuration="" if loaded is None else configuration_text(loaded.config_id),
    )
    hits = {stream: one.hits for stream, one in found.looked.items()}
    pairs = receipts_of(hits["received"], hits["events"], hits["discarded"], found.pipeline_at)
    pairs = [(receipt, line) for receipt, line in pairs if _meant(receipt, wanted)]
    story.receipts = [receipt for receipt, _ in pairs]
    if loaded is not None:
        await try_again(pairs, loaded, catalogue, clock)
        _tell_fates(story, data_dir, hits["events"], loaded, catalogue, clock)
    return story


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
