"""Upkeep of the streams: what is older than its time goes, what somebody still needs is held, loudly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.duration import parse_keep
from cdpd.config.model import LogConfig, StreamConfig
from cdpd.log.retention import Retention
from cdpd.log.stream import Stream

EVERY: Final = 60.0
"""Seconds between two rounds."""
DEFAULT_KEEP: Final = {"received": "7d", "discarded": "30d", "events": "forever"}


class Kept(Struct, frozen=True):
    """A stream under upkeep, and who still needs it from which offset on."""

    stream: Stream
    needed: Callable[[], Mapping[str, int]]


def retention_of(config: LogConfig, stream: str) -> Retention:
    """How long a stream is kept: its own setting, else the default (ARCHITECTURE, The log, Upkeep)."""
    own: StreamConfig = getattr(config, stream)
    return Retention(keep=parse_keep(own.keep or DEFAULT_KEEP[stream]), keep_bytes=own.keep_bytes)


async def upkeep(
    streams: list[Kept],
    config: Callable[[], LogConfig],
    clock: Clock,
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Round after round until cancelled. A round that fails is told and tried again with the next."""
    while True:
        for kept in streams:
            stream = kept.stream
            try:
                done = await stream.retain(retention_of(config(), stream.name), kept.needed())
            except OSError as error:
                log.error("old segments could not be removed", stream=stream.name, error=str(error))
                continue
            if done.removed:
                log.info(
                    "old segments removed", stream=stream.name, segments=len(done.removed), begin=stream.begin
                )
            for holder in done.held:
                log.warning(
                    "old segments are kept because somebody still needs them",
                    stream=stream.name,
                    needed_by=holder,
                )
        await clock.sleep(EVERY)
