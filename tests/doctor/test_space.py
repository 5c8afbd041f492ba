"""Room on the disk against what is kept, and a log that is ahead of the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.config.model import LogConfig, StreamConfig
from cdpd.config.size import Floor
from cdpd.doctor.machine import Space
from cdpd.doctor.space import Usage, check_space, retentions, room, usage_of
from cdpd.log.errors import LogError
from tests.stored import AT_MS, event, received, store

from .machine import GIB, FakeMachine, told

DAY_MS = 86_400_000
MIB = 1024**2


def space(data: Path, machine: FakeMachine, config: LogConfig | None = None) -> tuple[str, str]:
    """(state, text) of the disk's room."""
    found = told(check_space(data, config or LogConfig(), machine))
    return next((state, text) for check, state, text in found if check == "disk space")


def test_an_empty_folder_says_how_much_is_free(tmp_path: Path) -> None:
    assert told(check_space(tmp_path / "missing", LogConfig(), FakeMachine())) == [
        ("disk space", "ok", "100.0 GiB of 200.0 GiB are free")
    ]


@pytest.mark.parametrize(
    ("free", "state", "text"),
    [
        (Space(GIB, 200 * GIB, None), "warning", "1.0 GiB of 200.0 GiB are free"),
        (Space(2 * GIB + 257 * MIB, 200 * GIB, None), "ok", "2.3 GiB of 200.0 GiB are free"),
        (
            Space(100 * MIB, 200 * GIB, None),
            "problem",
            "100.0 MiB of 200.0 GiB are free, and 256.0 MiB are to stay free ([log] min_free): events are refused "
            "with 503",
        ),
        (Space(100 * GIB, 200 * GIB, 7), "problem", "the filesystem has room for only 7 more files"),
    ],
)
def test_little_room_is_told(tmp_path: Path, free: Space, state: str, text: str) -> None:
    assert space(tmp_path, FakeMachine(room=free)) == (state, text)


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """Events of two days, up to NOW_MS; received of nine."""
    for days in (2, 1):
        store(tmp_path, "events", [event(days, properties={"text": "x" * 500})], a_segment=1,
              at_ms=AT_MS - days * DAY_MS)  # fmt: skip
    for days in (9, 1):
        store(tmp_path, "received", [received(days)], a_segment=1, at_ms=AT_MS - days * DAY_MS)
    return tmp_path


def test_the_pace_of_the_last_week_says_how_long_it_lasts(grown: Path) -> None:
    usage = {each.name: each for each in usage_of(grown, retentions(LogConfig()), AT_MS)}
    assert usage["events"].a_day == pytest.approx(usage["events"].bytes / 2, rel=0.01)
    assert usage["received"].a_day == 0, "as much goes as comes: it is kept for 7 days, and has 9"
    assert usage["discarded"].bytes == usage["discarded"].newest_ms == 0


@pytest.mark.parametrize(
    ("days", "state", "text"),
    [
        (0.5, "problem", "at the pace of the last week (20.0 GiB a day) for 12 hours"),
        (2.5, "problem", "for 2 days"),
        (20, "warning", "for 20 days"),
        (50, "ok", "for 50 days"),
        (5000, "ok", "for more than ten years"),
    ],
)
def test_room_that_will_not_last_is_told(tmp_path: Path, days: float, state: str, text: str) -> None:
    usage = [Usage("received", 70 * GIB, AT_MS, 0), Usage("events", 5 * GIB, AT_MS, 20 * GIB)]
    floor = Floor(bytes=GIB)
    machine = FakeMachine(room=Space(round(20 * GIB * days) + GIB, 200_000 * GIB, None))
    (found,) = told(room(tmp_path, usage, floor, machine))
    assert found[1] == state
    assert "stored: received 70.0 GiB, events 5.0 GiB" in found[2]
    assert text in found[2]


def test_the_floor_may_be_a_part_of_the_disk(tmp_path: Path) -> None:
    machine = FakeMachine(room=Space(9 * GIB, 200 * GIB, None))
    assert space(tmp_path, machine, LogConfig(min_free="5%"))[0] == "problem"
    assert space(tmp_path, machine, LogConfig(min_free="4%"))[0] == "warning"
    assert space(tmp_path, machine, LogConfig(min_free="0"))[0] == "ok"


def test_a_stream_that_is_bounded_in_bytes_does_not_grow_beyond_them(grown: Path) -> None:
    config = LogConfig(events=StreamConfig(keep_bytes=1))
    usage = {each.name: each for each in usage_of(grown, retentions(config), AT_MS)}
    assert usage["events"].a_day == 0
    long_ago = usage_of(grown, retentions(LogConfig()), AT_MS + 30 * DAY_MS)
    assert all(each.a_day == 0 for each in long_ago), "nothing came of late"


def test_what_came_in_within_minutes_says_nothing_of_a_day(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1)])
    assert all(each.a_day == 0 for each in usage_of(tmp_path, retentions(LogConfig()), AT_MS + 60_000))


def test_a_log_that_is_ahead_of_the_clock_is_told(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1)])
    found = told(check_space(tmp_path, LogConfig(), FakeMachine(now=AT_MS - 2 * 3_600_000)))
    assert found[-1][:2] == ("log time", "problem")
    assert "the newest line is from 2026-01-31T12:00:00.000Z, 120 minutes ahead of the clock" in found[-1][2]
    found = told(check_space(tmp_path, LogConfig(), FakeMachine(now=AT_MS)))
    assert found[-1] == ("log time", "ok", "the newest line is from 2026-01-31T12:00:00.000Z")


def test_a_stream_that_cannot_be_looked_into_is_told(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", [event(1)])
    (mark,) = folder.glob("mark*")
    mark.unlink()
    mark.mkdir()
    found = told(check_space(tmp_path, LogConfig(), FakeMachine()))
    assert found[0][:2] == ("streams", "problem")
    assert found[0][2].startswith(f"they cannot be read: {folder / 'mark'}: ")
    assert found[1][0] == "disk space"


def test_a_stream_that_is_no_stream_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object) -> None:
        raise LogError("its format is of a newer cdpd")

    monkeypatch.setattr("cdpd.doctor.space.usage_of", damaged)
    found = told(check_space(tmp_path, LogConfig(), FakeMachine()))
    assert found[0] == ("streams", "problem", "they cannot be read: its format is of a newer cdpd")
