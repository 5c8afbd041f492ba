"""Room on the disk, against what is kept and what comes in; and whether the log is ahead of the clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.cli.output import plural, size_text
from cdpd.config.data_folder import STREAMS, stream_folder
from cdpd.config.model import LogConfig
from cdpd.config.size import Floor, parse_floor
from cdpd.doctor.finding import Finding, ok, problem, warning
from cdpd.doctor.folder import nearest_folder
from cdpd.doctor.machine import Machine
from cdpd.log.errors import LogError
from cdpd.log.folder import SegmentInfo, StreamFolder
from cdpd.log.retention import Retention
from cdpd.timestamp import format_time

LITTLE_FREE: Final = 2 * 1024 * 1024 * 1024
"""Bytes above the floor ([log] min_free)."""
LEAST_FILES: Final = 1000
FEW_DAYS: Final = 3
SOME_DAYS: Final = 30
_DAY_MS: Final = 86_400_000
_RECENT_MS: Final = 7 * _DAY_MS
_LEAST_SPAN_MS: Final = 3_600_000
"""What came in within less than this says nothing of a day."""
_AHEAD_MS: Final = 60_000


class Usage(Struct, frozen=True):
    """What a stream takes."""

    name: str
    bytes: int
    newest_ms: int
    """Log time of its last line; 0 where there is none."""
    a_day: float
    """Bytes by which it grows, of late; 0 once as much goes as comes."""


def usage_of(data_dir: Path, retention: dict[str, Retention], now_ms: int) -> list[Usage]:
    """Raises LogError, OSError where a stream cannot be looked into."""
    found = []
    for name in STREAMS:
        folder = stream_folder(data_dir, name)
        segments = StreamFolder(folder).segments() if folder.is_dir() else []
        size = sum(segment.bytes for segment in segments)
        newest = max((segment.last_ms for segment in segments), default=0)
        found.append(Usage(name, size, newest, _growth(segments, retention[name], now_ms)))
    return found


def _growth(segments: list[SegmentInfo], retention: Retention, now_ms: int) -> float:
    """Bytes a day; a stream from which as much goes as comes does not grow."""
    timed = [segment for segment in segments if segment.last_ms]
    if not timed:
        return 0.0
    oldest = timed[0].first_ms
    if retention.keep is not None and now_ms - oldest >= retention.keep * 1000:
        return 0.0
    if retention.keep_bytes is not None and sum(s.bytes for s in segments) >= retention.keep_bytes:
        return 0.0
    recent = [segment for segment in timed if segment.last_ms >= now_ms - _RECENT_MS]
    if not recent:
        return 0.0
    span = now_ms - recent[0].first_ms
    return sum(s.bytes for s in recent) / span * _DAY_MS if span >= _LEAST_SPAN_MS else 0.0


def retentions(config: LogConfig) -> dict[str, Retention]:
    from cdpd.upkeep import retention_of

    return {name: retention_of(config, name) for name in STREAMS}


def check_space(data_dir: Path, config: LogConfig, machine: Machine) -> Iterator[Finding]:
    """Free space, and how long it lasts at the pace of the last week; and log times."""
    now_ms = machine.now_ms()
    try:
        usage = usage_of(data_dir, retentions(config), now_ms)
    except LogError as error:
        yield problem("streams", f"they cannot be read: {error}", "`cdpd log verify` tells more")
        usage = []
    except OSError as error:
        reason = f"{error.filename}: {(error.strerror or str(error)).lower()}"
        yield problem("streams", f"they cannot be read: {reason}", "look as the daemon's user, or as root")
        usage = []
    yield from room(nearest_folder(data_dir), usage, parse_floor(config.min_free), machine)
    yield from _log_time(usage, now_ms)


def room(folder: Path, usage: list[Usage], floor: Floor, machine: Machine) -> Iterator[Finding]:
    """Below the floor of free disk no events are taken: what is above it is what there is."""
    check = "disk space"
    space = machine.space(folder)
    kept = floor.of(space.total)
    left = max(space.free - kept, 0)
    growing = sum(each.a_day for each in usage)
    days = left / growing if growing > 0 else None
    text = f"{size_text(space.free)} of {size_text(space.total)} are free"
    parts = [f"{each.name} {size_text(each.bytes)}" for each in usage if each.bytes]
    if parts:
        text += f"; stored: {', '.join(parts)}"
    if days is not None:
        text += f"; at the pace of the last week ({size_text(round(growing))} a day) for {_days(days)}"
    facts = {"free_bytes": space.free, "floor_bytes": kept, "growth_bytes_a_day": round(growing)}
    facts |= {f"{each.name}_bytes": each.bytes for each in usage}
    todo = "make room, or keep less: `keep` of [log.received], [log.events], [log.discarded]"
    if space.free_files is not None and space.free_files < LEAST_FILES:
        yield problem(check, f"the filesystem has room for only {space.free_files} more files", todo, **facts)
    elif not left:
        text += f", and {size_text(kept)} are to stay free ([log] min_free): events are refused with 503"
        yield problem(check, text, todo, **facts)
    elif days is not None and days < FEW_DAYS:
        yield problem(check, text, todo, **facts)
    elif left < LITTLE_FREE or (days is not None and days < SOME_DAYS):
        yield warning(check, text, todo, **facts)
    else:
        yield ok(check, text, **facts)


def _days(days: float) -> str:
    if days > 3650:
        return "more than ten years"
    return plural(int(days), "day") if days >= 1 else plural(int(days * 24), "hour")


def _log_time(usage: list[Usage], now_ms: int) -> Iterator[Finding]:
    newest = max((each.newest_ms for each in usage), default=0)
    if not newest:
        return
    ahead = newest - now_ms
    if ahead > _AHEAD_MS:
        yield problem(
            "log time",
            f"the newest line is from {format_time(newest)}, {plural(ahead // 60_000, 'minute')} ahead of the clock: "
            "it was set back, and log times stand still until then",
            "set the clock right; the log goes on by itself",
            ahead_seconds=ahead // 1000,
        )
    else:
        yield ok("log time", f"the newest line is from {format_time(newest)}")
