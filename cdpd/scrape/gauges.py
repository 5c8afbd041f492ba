"""What the daemon is like at this moment, for a scrape: read from its parts, nothing of it is kept."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from cdpd import metrics as names
from cdpd.config.data_folder import STREAMS, stream_folder
from cdpd.log.readable import ReadableStream
from cdpd.log.segment import SUFFIX
from cdpd.metrics import Family, Series

PIPELINE_STATES: Final = ("starting", "running", "waiting", "stopped", "failed")
DESTINATION_STATES: Final = (
    "starting", "running", "retrying", "paused", "paused by hand", "waiting", "stopped", "disabled"
)  # fmt: skip


class Load(Struct, frozen=True):
    """What ingest is busy with."""

    connections: int
    active: int
    in_flight: int
    limit: int
    certificate_ends: int | None = None
    """Seconds since the epoch."""


class Parts(Struct, frozen=True):
    """The daemon's parts, as far as a scrape reads them; each is called on the event loop. None: runs elsewhere."""

    streams: Sequence[ReadableStream]
    pipeline: Callable[[], Mapping[str, Any]] | None
    """Pipeline.status."""
    destinations: Callable[[], Mapping[str, Mapping[str, Any]]] | None
    """Delivery.status."""
    load: Callable[[], Load] | None
    ready: Callable[[], bool]
    sources: Callable[[], list[str]]
    """Names of those that are configured."""


def gauges(parts: Parts) -> Iterator[Series]:
    """Everything that takes no disk to know."""

    def gauge(family: Family, value: float, *labels: str) -> Series:
        return Series(family, labels, value)

    yield gauge(names.READY, parts.ready())
    yield gauge(names.BUILD, 1, version("cdpd-daemon"), platform.python_version())
    if parts.load is not None:
        load = parts.load()
        yield gauge(names.CONNECTIONS, load.connections)
        yield gauge(names.ACTIVE, load.active)
        yield gauge(names.IN_FLIGHT, load.in_flight)
        yield gauge(names.IN_FLIGHT_LIMIT, load.limit)
        if load.certificate_ends is not None:
            yield gauge(names.CERTIFICATE_ENDS, load.certificate_ends)
    for stream in parts.streams:
        yield gauge(names.STREAM_BEGIN, stream.begin, stream.name)
        yield gauge(names.STREAM_END, stream.end.offset, stream.name)
    if parts.pipeline is not None:
        pipeline = parts.pipeline()
        for state in PIPELINE_STATES:
            yield gauge(names.PIPELINE_STATE, pipeline["state"] == state, state)
        yield gauge(names.PIPELINE_LAG_EVENTS, pipeline["behind"])
        yield gauge(names.PIPELINE_LAG_SECONDS, pipeline["behind_seconds"])
    destinations = parts.destinations() if parts.destinations is not None else {}
    for name, told in destinations.items():
        for state in DESTINATION_STATES:
            yield gauge(names.DESTINATION_STATE, told["state"] == state, name, state)
        yield gauge(names.DESTINATION_LAG_EVENTS, told["lag_events"], name)
        if told["lag_seconds"] is not None:
            yield gauge(names.DESTINATION_LAG_SECONDS, told["lag_seconds"], name)
        yield gauge(names.DESTINATION_PARKED, told["parked"], name)
        yield gauge(names.DESTINATION_BATCHES, told["in_flight"], name)
        yield gauge(names.DESTINATION_WAITING, told["waiting_to_retry"], name)


def beginnings(parts: Parts) -> Iterator[tuple[Family, tuple[str, ...]]]:
    """Counters that are 0 where nothing was counted: their first event shows as a rise, not as a new line."""
    yield from ((names.RELOADS, (result,)) for result in ("applied", "refused"))
    for source in parts.sources():
        yield from ((family, (source,)) for family in (names.RECEIVED, names.ACCEPTED))
    for plugin in parts.pipeline()["hooks"] if parts.pipeline is not None else ():
        yield from ((family, (plugin,)) for family in (names.HOOK_SECONDS, names.HOOK_FAILURES))
    for name in parts.destinations() if parts.destinations is not None else ():
        yield from ((family, (name,)) for family in (names.DELIVERED, names.RETRIED, names.RATE_LIMITED))
        yield from ((names.PARKED, (name, kind)) for kind in names.PARKED_KINDS)


def disk(data_dir: Path) -> Iterator[Series]:
    """What the data folder's file system and the streams' folders hold. For a thread: it reads folders."""
    for name in STREAMS:
        size = segments = 0
        try:
            with os.scandir(stream_folder(data_dir, name)) as entries:
                for entry in entries:
                    size += _size(entry)
                    segments += entry.name.endswith(SUFFIX)
        except FileNotFoundError:
            continue
        yield Series(names.STREAM_BYTES, (name,), size)
        yield Series(names.STREAM_SEGMENTS, (name,), segments)
    usage = shutil.disk_usage(data_dir)
    yield Series(names.DISK_FREE, (), usage.free)
    yield Series(names.DISK_SIZE, (), usage.total)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # retention took it meanwhile
        return 0
