"""One run of an import over files: batches, what is noted, and going on after any kind of end."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cdpd.bring.batch import MAX_EVENTS, Item
from cdpd.bring.event import Treatment
from cdpd.bring.importer import Importer, OtherTreatment, Tally, Wanted
from cdpd.bring.inputs import local
from cdpd.bring.mapping import mapping_of
from cdpd.bring.progress import ProgressError, kept_progress
from cdpd.bring.sending import Answer, Interrupted, NotTaken, Stopped
from cdpd.timestamp import format_time

AT_MS = 1_709_280_000_000


def line(number: int, **more: Any) -> bytes:
    event = {
        "type": "track",
        "messageId": f"m{number}",
        "timestamp": format_time(AT_MS + number * 1000),
    } | more
    return json.dumps(event).encode() + b"\n"


class Rig:
    """A folder of archives, and a daemon that remembers what it was sent."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "archive"
        self.archive.mkdir()
        self.kept = folder / "imports"
        self.batches: list[list[str]] = []
        self.said: list[str] = []
        self.bad_places: list[str] = []
        self.fail_at: int | None = None
        """The batch that is not taken."""

    def write(self, name: str, *numbers: int) -> Path:
        path = self.archive / name
        path.write_bytes(gzip.compress(b"".join(map(line, numbers)), 0))
        return path

    @property
    def ids(self) -> list[str]:
        return [message_id for batch in self.batches for message_id in batch]

    def send(self, items: Sequence[Item]) -> Answer:
        if self.fail_at == len(self.batches):
            raise NotTaken("the disk is full")
        self.batches.append([json.loads(item.text)["messageId"] for item in items])
        return Answer(len(items), 0)

    # Watch
    def say(self, text: str) -> None:
        self.said.append(text)

    def bad(self, place: str, message: str) -> None:
        self.bad_places.append(f"{Path(place).name}: {message}")

    def read(self, count: int) -> None: ...

    def sent(self, count: int) -> None: ...

    def run(
        self,
        selection: str = "",
        deliver: Sequence[str] = (),
        keeps: bool = True,
        stop: Callable[[], bool] = lambda: False,
        **wanted: Any,
    ) -> Tally:
        """One run; the batches are those of this run."""
        self.batches, self.said, self.bad_places = [], [], []
        with kept_progress(self.kept, "website", selection, keeps=keeps) as progress:
            what = Wanted(Treatment("website", deliver=deliver), **wanted)
            self.importer = Importer(local(self.archive), what, progress, self.send, self, stop)
            self.importer.run()
        return self.importer.tally


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def ids(*numbers: int) -> list[str]:
    return [f"m{number}" for number in numbers]


def test_small_files_share_a_batch_and_a_large_one_makes_several(rig: Rig) -> None:
    rig.write("a.gz", 0, 1)
    rig.write("b.gz", *range(2, 1400))
    tally = rig.run()
    assert rig.ids == ids(*range(1400))
    assert [len(batch) for batch in rig.batches] == [MAX_EVENTS, MAX_EVENTS, 400]
    assert (tally.files, tally.events) == (2, 1400)
    assert (tally.first_ms, tally.last_ms) == (AT_MS, AT_MS + 1399 * 1000)


def test_what_was_imported_is_not_imported_again(rig: Rig) -> None:
    rig.write("a.gz", 0, 1)
    rig.run()
    rig.write("b.gz", 2)
    tally = rig.run()
    assert rig.ids == ids(2)
    assert tally.files_before == 1
    rig.run(restart=True)
    assert rig.ids == ids(0, 1, 2)
    rig.run()
    assert rig.ids == []


def test_each_selection_of_times_is_an_import_of_its_own(rig: Rig) -> None:
    rig.write("a.gz", *range(10))
    tally = rig.run("first", to_ms=AT_MS + 5000)
    assert (rig.ids, tally.outside) == (ids(*range(5)), 5)
    rig.run("second", from_ms=AT_MS + 5000)
    assert rig.ids == ids(*range(5, 10))


def test_events_without_a_time_are_wanted_only_where_no_times_are_asked_for(rig: Rig) -> None:
    (rig.archive / "a.json").write_bytes(
        line(0, timestamp=None) + line(1, timestamp=None, receivedAt="2024-03-01")
    )
    assert rig.run("x", from_ms=0).outside == 1
    assert rig.ids == ids(1)
    assert rig.run().untimed == 2


@pytest.mark.parametrize("fail_at", [0, 1, 2])
def test_an_import_that_failed_goes_on_where_the_daemon_stopped_taking(rig: Rig, fail_at: int) -> None:
    rig.write("a.gz", *range(700))
    rig.write("b.gz", *range(700, 1400))
    rig.fail_at = fail_at
    with pytest.raises(NotTaken):
        rig.run()
    taken = rig.ids
    assert len(taken) == fail_at * MAX_EVENTS
    rig.fail_at = None
    rig.run()
    assert taken + rig.ids == ids(*range(1400))


def test_an_interrupt_sends_what_was_read_and_nothing_is_sent_twice(rig: Rig) -> None:
    rig.write("a.gz", *range(100))
    asked = iter(range(1000))
    with pytest.raises(Interrupted):
        rig.run(stop=lambda: next(asked) >= 41)
    taken = rig.ids
    assert taken == ids(*range(42))
    rig.run()
    assert taken + rig.ids == ids(*range(100))


def test_a_limit_ends_it_and_the_next_run_goes_on(rig: Rig) -> None:
    rig.write("a.gz", *range(5))
    rig.write("b.gz", *range(5, 10))
    seen: list[str] = []
    for _ in range(4):
        assert rig.run(limit=3).events <= 3
        seen += rig.ids
    assert seen == ids(*range(10))


def test_a_file_that_is_not_whole_is_told_and_its_rest_imported_once_it_is(rig: Rig) -> None:
    whole = rig.write("a.gz", *range(2000)).read_bytes()
    (rig.archive / "a.gz").write_bytes(whole[: len(whole) // 2])
    rig.write("b.gz", 2000)
    tally = rig.run()
    assert (tally.files_broken, len(rig.said)) == (1, 1)
    assert "a.gz: the gzip data ends too early" in rig.said[0]
    taken = rig.ids
    assert taken[-1] == "m2000"
    (rig.archive / "a.gz").write_bytes(whole)
    assert rig.run().files_broken == 0
    assert rig.said == []
    assert sorted(taken + rig.ids) == sorted(ids(*range(2001)))


def test_a_file_that_changed_is_told_and_read_anew(rig: Rig) -> None:
    rig.write("a.gz", 0, 1)
    rig.run()
    rig.write("a.gz", 5, 6, 7)
    rig.run()
    assert rig.ids == ids(5, 6, 7)
    assert "a.gz is not what it was when its first 2 lines were imported" in rig.said[0]


def test_a_file_that_grew_gives_what_is_new(rig: Rig) -> None:
    rig.write("a.gz", 0, 1)
    rig.run()
    rig.write("a.gz", 0, 1, 2)
    rig.run()
    assert (rig.ids, rig.said) == (ids(2), [])


def test_a_bad_line_costs_only_itself(rig: Rig) -> None:
    (rig.archive / "a.json").write_bytes(line(0) + b"{oops\n" + line(1))
    assert rig.run().bad_lines == 1
    assert rig.ids == ids(0, 1)
    assert rig.bad_places[0].startswith("a.json:2: not JSON")


def test_strict_stops_before_a_bad_line_and_at_it_again(rig: Rig) -> None:
    (rig.archive / "a.json").write_bytes(line(0) + b"{oops\n" + line(1))
    with pytest.raises(Stopped, match=r"stopped at .*a\.json:2"):
        rig.run(strict=True)
    assert rig.ids == ids(0)
    with pytest.raises(Stopped):
        rig.run(strict=True)
    assert rig.ids == []
    rig.run()
    assert rig.ids == ids(1)


def test_other_options_for_a_file_that_was_begun_have_to_be_meant(rig: Rig) -> None:
    rig.write("a.gz", 0)
    rig.run()
    with pytest.raises(OtherTreatment, match="--restart imports it again with these"):
        rig.run(deliver=("File",))
    rig.run(deliver=("File",), restart=True)
    assert rig.ids == ids(0)


def test_a_file_of_which_nothing_could_be_read_may_be_tried_with_other_options(rig: Rig) -> None:
    (rig.archive / "a.csv").write_text("customer\nc1\n")
    assert rig.run().files_broken == 1
    columns = mapping_of(None, ["userId=customer"], ["type=identify"], None)
    assert rig.run(columns=columns).events == 1


def test_a_file_that_breaks_off_earlier_than_before_loses_no_ground(rig: Rig) -> None:
    whole = rig.write("a.gz", *range(2000)).read_bytes()
    rig.run()
    (rig.archive / "a.gz").write_bytes(whole[:1000])
    assert rig.run().files_broken == 1
    (rig.archive / "a.gz").write_bytes(whole)
    rig.run()
    assert rig.ids == []


def test_a_dry_run_leaves_everything_as_it_is(rig: Rig) -> None:
    rig.write("a.gz", 0)
    for _ in range(2):
        assert rig.run(keeps=False).events == 1
    rig.run()
    rig.write("b.gz", 1)
    assert rig.run(keeps=False).events == 1
    assert rig.run(keeps=False, restart=True).events == 2
    assert rig.run().events == 1


def test_names_are_counted_up_to_a_bound(rig: Rig) -> None:
    lines = b"".join(line(i, event=f"name {i}") for i in range(1500))
    (rig.archive / "a.json").write_bytes(lines)
    kinds = rig.run().kinds
    assert kinds["track", "name 0"] == 1
    assert kinds["track", "(others)"] == 500


def test_two_imports_into_one_source_do_not_meet(rig: Rig) -> None:
    with (
        kept_progress(rig.kept, "website", ""),
        kept_progress(rig.kept, "app", ""),
        pytest.raises(ProgressError, match="another `cdpd import` into website is running"),
        kept_progress(rig.kept, "website", "other"),
    ):
        pass


def test_progress_that_cannot_be_kept_is_told(rig: Rig) -> None:
    rig.kept.write_text("a file in the way")
    with (
        pytest.raises(ProgressError, match="cannot keep progress in"),
        kept_progress(rig.kept, "website", ""),
    ):
        pass
    rig.kept.unlink()
    with kept_progress(rig.kept, "website", ""):
        pass
    assert (rig.kept / "progress.db").stat().st_mode & 0o077 == 0
    with sqlite3.connect(rig.kept / "progress.db") as db:
        db.execute("pragma user_version = 9")
    with pytest.raises(ProgressError, match="newer cdpd"), kept_progress(rig.kept, "website", ""):
        pass
    (rig.kept / "progress.db").write_bytes(b"no database" * 100)
    with pytest.raises(ProgressError, match="not a database"), kept_progress(rig.kept, "website", ""):
        pass
