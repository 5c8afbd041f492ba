"""The store of `dedup` against a model, through kills, power losses and clean stops."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cdpd.event import BEGINNING, Position
from cdpd.hooks.seen.store import SLACK_MS, SeenStore
from cdpd.hooks.seen.table import Table, Untrusted

WINDOW = 3_600_000
BOOT = b"b" * 16


class Follower(RuleBasedStateMachine):
    """A log of (id, time) that is never lost, and a store that follows it and may be interrupted anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp()) / "store"
        self.log: list[tuple[str, int]] = []
        self.now = 1_700_000_000_000
        self.boot = 1
        self.chance = random.Random(0)
        self.store = self.opened()

    def teardown(self) -> None:
        self.store._let_go()
        shutil.rmtree(self.folder.parent)

    def opened(self) -> SeenStore:
        return SeenStore.open(self.folder, WINDOW, self.boot.to_bytes(16, "big"))

    @initialize(seed=st.integers())
    def seed(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def entries(self, start: int, stop: int) -> list[tuple[bytes, int]]:
        return [(self.store.digest("s", name), ms) for name, ms in self.log[start:stop]]

    def catch_up(self) -> None:
        start = self.store.position.offset
        self.store.add(self.entries(start, len(self.log)), Position(len(self.log), 1))

    @rule(names=st.lists(st.integers(0, 60), max_size=30), step=st.integers(0, WINDOW // 3))
    def append(self, names: list[int], step: int) -> None:
        for name in names:
            self.now += self.chance.randrange(step + 1) // 10
            jitter = self.chance.choice((0, 0, 1000, SLACK_MS // 2))
            self.log.append((str(name), self.now - jitter))

    @rule(count=st.integers(0, 3000))
    def append_many_new(self, count: int) -> None:
        self.log += [(f"n{len(self.log)}-{i}", self.now) for i in range(count)]

    @rule(hours=st.integers(0, 5))
    def let_time_pass(self, hours: int) -> None:
        self.now += hours * WINDOW

    @rule()
    def follow(self) -> None:
        self.catch_up()

    @rule()
    def be_killed(self) -> None:
        """While adding, at any entry; the same boot goes on."""
        start = self.store.position.offset
        missing = self.entries(start, len(self.log))
        part = missing[: self.chance.randrange(len(missing) + 1)]
        position = self.store.position

        def then_killed() -> object:
            yield from part
            raise KeyboardInterrupt

        try:
            self.store.add(then_killed(), Position(len(self.log), 1))  # type: ignore[arg-type]  # a generator
        except KeyboardInterrupt:
            pass
        assert self.store.position == position
        self.store._let_go()
        self.store = self.opened()
        assert self.store.position == position, "nothing had to be made again"

    @rule(damage=st.sampled_from(("lost page", "old page", "cut", "gone", "none")))
    def lose_power(self, damage: str) -> None:
        """Without a stop: whatever is on the disk, it is not believed."""
        self.store._let_go()
        self.damage(damage)
        self.boot += 1
        self.store = self.opened()
        assert self.store.position == BEGINNING
        assert len(self.store) == 0

    @rule()
    def stop_cleanly_and_start_the_machine_again(self) -> None:
        self.catch_up()
        self.store.close()
        self.boot += 1
        self.store = self.opened()
        assert self.store.position.offset == len(self.log)

    @rule(damage=st.sampled_from(("lost page", "old page", "cut", "gone")))
    def stop_cleanly_and_lose_power(self, damage: str) -> None:
        """The stop was clean, but not all of it reached the disk."""
        self.catch_up()
        self.store.close()
        damaged = self.damage(damage)
        self.boot += 1
        self.store = self.opened()
        assert self.store.position.offset == (0 if damaged else len(self.log))

    def damage(self, kind: str) -> bool:
        tables = sorted(self.folder.glob("*.ids"))
        if kind == "none" or not tables:
            return False
        path = self.chance.choice(tables)
        data = bytearray(path.read_bytes())
        pages = [at for at in range(0, len(data), 4096) if any(data[at : at + 4096])]
        at = self.chance.choice(pages)
        if kind == "gone":
            path.unlink()
        elif kind == "cut":
            os.truncate(path, at)
        else:
            page = bytes(4096) if kind == "lost page" else bytes(b ^ 1 for b in data[at : at + 4096])
            data[at : at + 4096] = page
            path.write_bytes(data)
        return True

    @invariant()
    def it_says_what_the_log_says(self) -> None:
        self.catch_up()
        asked = [str(name) for name in range(0, 61, 7)] + [name for name, _ in self.log[-3:]]
        newest: dict[str, int] = {}
        for name, ms in self.log:
            newest[name] = max(ms, newest.get(name, 0))
        for ms in (self.now, self.now - SLACK_MS // 2):
            for name in asked:
                wanted = name in newest and ms - newest[name] < WINDOW
                assert self.store.seen(self.store.digest("s", name), ms) == wanted, (name, ms)
        assert not self.store.seen(self.store.digest("t", asked[0]), self.now), "another source"


Follower.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
test_the_store_follows_a_log_through_crashes = Follower.TestCase


def test_the_window_is_exact_to_the_millisecond(tmp_path: Path) -> None:
    store = SeenStore.open(tmp_path / "s", WINDOW, BOOT)
    digest = store.digest("s", "m")
    store.add([(digest, 10 * WINDOW + 5)], Position(1, 1))
    assert store.seen(digest, 11 * WINDOW + 4)
    assert not store.seen(digest, 11 * WINDOW + 5)
    store.close()


def test_old_tables_are_dropped_whole(tmp_path: Path) -> None:
    store = SeenStore.open(tmp_path / "s", WINDOW, BOOT)
    for n in range(100):
        store.add([(store.digest("s", str(n)), n * WINDOW // 2)], Position(n + 1, 1))
    assert len(list((tmp_path / "s").glob("*.ids"))) <= 3
    assert len(store) <= 6
    store.close()


def test_another_window_begins_anew(tmp_path: Path) -> None:
    store = SeenStore.open(tmp_path / "s", WINDOW, BOOT)
    store.add([(store.digest("s", "m"), WINDOW)], Position(1, 1))
    store.close()
    other = SeenStore.open(tmp_path / "s", WINDOW * 2, BOOT)
    assert other.position == BEGINNING
    other.close()


def test_a_boot_that_is_not_known_is_never_the_same(tmp_path: Path) -> None:
    store = SeenStore.open(tmp_path / "s", WINDOW, bytes(16))
    store.add([(store.digest("s", "m"), WINDOW)], Position(1, 1))
    store._let_go()
    other = SeenStore.open(tmp_path / "s", WINDOW, bytes(16))
    assert other.position == BEGINNING
    other.close()


def test_a_store_that_was_killed_in_the_middle_of_a_split_is_not_believed(tmp_path: Path) -> None:
    store = SeenStore.open(tmp_path / "s", WINDOW, BOOT)
    store.add([(store.digest("s", "m"), WINDOW)], Position(1, 1))
    [table] = store._searched
    table._words[5] = 1
    store._let_go()
    with pytest.raises(Untrusted):
        Table.open(tmp_path / "s" / "1.ids", WINDOW)
    other = SeenStore.open(tmp_path / "s", WINDOW, BOOT)
    assert other.position == BEGINNING
    other.close()


def test_a_table_grows_and_keeps_every_id(tmp_path: Path) -> None:
    table = Table.create(tmp_path / "t", 1000)
    chance = random.Random(1)
    ids = {(chance.randrange(1, 2**64), chance.randrange(2**28)): 1000 + n for n in range(40_000)}
    for (key, tag), ms in ids.items():
        table.add(key, tag, ms)
    assert len(table) == len(ids)
    assert all(table.find(key, tag) == ms for (key, tag), ms in ids.items())
    assert table.find(12345, 1) is None
    assert table.whole
    size = (tmp_path / "t").stat().st_size
    table.close()
    assert size < 100 * len(ids), "bytes an id"
    again = Table.open(tmp_path / "t", 1000)
    assert all(again.find(key, tag) == ms for (key, tag), ms in ids.items())
    again.close()


def test_a_group_that_overflows_loses_nothing_and_says_so(tmp_path: Path) -> None:
    table = Table.create(tmp_path / "t", 0)
    keys = [(n << 40) + 3 for n in range(1, 400)]  # all of one group until many splits later
    for n, key in enumerate(keys):
        table.add(key, 7, n)
    assert [table.find(key, 7) for key in keys] == list(range(len(keys)))
    assert not table.whole
    table.close()
    with pytest.raises(Untrusted):
        Table.open(tmp_path / "t", 0)


def test_a_full_disk_is_an_error_that_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SeenStore.open(tmp_path / "s", WINDOW, BOOT)
    full = True

    def allocate(fd: int, start: int, size: int) -> None:
        if full and start:
            raise OSError(28, "No space left on device")
        os.ftruncate(fd, start + size)

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    ids = [(store.digest("s", str(n)), WINDOW) for n in range(5000)]
    with pytest.raises(OSError, match="No space"):
        store.add(ids, Position(5000, 1))
    assert store.position == BEGINNING
    full = False
    store.add(ids, Position(5000, 1))
    assert len(store) == 5000
    assert all(store.seen(digest, WINDOW) for digest, _ in ids)
    store.close()


def test_a_store_that_is_closed_twice_touches_no_file_of_anybody_else(tmp_path: Path) -> None:
    store = SeenStore.open(tmp_path / "store", WINDOW, BOOT)
    store.close()
    others = [os.open(tmp_path / str(n), os.O_RDWR | os.O_CREAT) for n in range(3)]  # its number among them
    store.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        store.add((), Position(1, 1))
    for n, fd in enumerate(others):
        assert os.fstat(fd).st_size == 0, n
        os.close(fd)
