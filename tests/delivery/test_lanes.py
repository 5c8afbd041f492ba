"""Lanes and window against a model: order, nothing lost, nothing twice, through retries, probes and restarts."""

from __future__ import annotations

import random as random_module
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.lanes import Group, Item, Lanes
from cdpd.delivery.window import Window
from cdpd.event import BEGINNING, Position

EPOCH = 7


def item(offset: int, key: bytes | None = b"u", size: int = 10) -> Item:
    return Item(Position(offset, EPOCH), 0, key, b"x" * size)


def offsets(group: Group | None) -> list[int]:
    return [] if group is None else [item.position.offset for item in group.items]


def test_a_batch_is_bounded_by_number_and_bytes_and_one_larger_event_goes_alone() -> None:
    lanes = Lanes()
    for offset, size in enumerate([10, 10, 10, 500, 10]):
        lanes.add(item(offset, key=None, size=size))
    assert offsets(lanes.take(2, 100)) == [0, 1]
    assert offsets(lanes.take(9, 100)) == [2]
    assert offsets(lanes.take(9, 100)) == [3]
    assert offsets(lanes.take(9, 100)) == [4]
    assert lanes.take(9, 100) is None


def test_one_users_retry_holds_only_that_user() -> None:
    lanes = Lanes()
    for offset, key in enumerate([b"a", b"b", b"a", b"c"]):
        lanes.add(item(offset, key))
    first = lanes.take(1, 100)
    assert first is not None
    lanes.wait(first.items, 1, 5.0)
    assert offsets(lanes.take(9, 100)) == [1, 3]
    assert lanes.take(9, 100) is None
    lanes.take_again(lanes.waiting[0])
    lanes.settle(first.items)
    assert offsets(lanes.take(9, 100)) == [2]


def test_events_of_nobody_are_never_held() -> None:
    lanes = Lanes()
    for offset in range(4):
        lanes.add(item(offset, None))
    first = lanes.take(2, 100)
    assert first is not None
    lanes.wait(first.items, 1, 5.0)
    assert offsets(lanes.take(9, 100)) == [2, 3]


def test_while_a_probe_is_out_the_rest_of_its_group_does_not_go() -> None:
    lanes = Lanes()
    for offset in range(3):
        lanes.add(item(offset))
    group = lanes.take(9, 100)
    assert group is not None
    group = lanes.wait(group.items, 1, 0.0)
    probe = lanes.split(group)
    assert offsets(probe) == [0]
    assert lanes.waiting == []
    assert lanes.take(9, 100) is None
    lanes.put_back(group)
    lanes.settle(probe.items)
    assert [offsets(group) for group in lanes.waiting] == [[1, 2]]
    lanes.add(item(3))
    assert lanes.take(9, 100) is None, "the same user's events wait still"


@settings(max_examples=300, deadline=None)
@given(
    users=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    ordering=st.sampled_from(["user", "strict", "none"]),
    seed=st.integers(0, 2**32),
)
def test_each_users_order_holds_and_every_event_is_finished_once_through_retries_and_restarts(
    users: list[int], ordering: str, seed: int
) -> None:
    """A random consumer: several batches in flight, partial failures, probes, and crashes at any moment."""
    random = random_module.Random(seed)

    def key(offset: int) -> bytes | None:
        return {"user": b"%d" % users[offset], "strict": b"", "none": None}[ordering]

    stored = DeliveryCursor(BEGINNING)
    taken: list[int] = []  # what the vendor has taken, in order
    certain: set[int] = set()  # finished as the stored cursor says
    for _ in range(1000):
        lanes, window = Lanes(), Window(stored)
        read = stored.low.offset
        flying: list[tuple[Group, Group | None]] = []
        while True:
            step = random.random()
            if step < 0.02:
                break  # a crash: what is not stored is forgotten
            if step < 0.35 and read < len(users):
                if not window.was_finished(read, EPOCH):
                    new = item(read, key(read))
                    window.add(new)
                    lanes.add(new)
                else:
                    assert read in certain, "a line that nobody finished was left out"
                read += 1
                window.read(Position(read, EPOCH))
            elif step < 0.55:
                group = lanes.take(random.randint(1, 4), random.randint(1, 40))
                if group is not None:
                    flying.append((group, None))
            elif step < 0.65 and lanes.waiting:
                group = random.choice(lanes.waiting)
                if random.random() < 0.5:
                    lanes.take_again(group)
                    flying.append((group, None))
                else:
                    flying.append((lanes.split(group), group))
            elif flying:
                group, rest = flying.pop(random.randrange(len(flying)))
                done, again = [], []
                users_behind: set[bytes | None] = set()
                for one in group.items:
                    # A destination does not send an event after an earlier one of the same user that has to wait.
                    if random.random() < 0.4 or (one.key is not None and one.key in users_behind):
                        again.append(one)
                        users_behind.add(one.key)
                    else:
                        done.append(one)
                        taken.append(one.position.offset)
                window.finish(done)
                if rest is not None:
                    lanes.rejoin(again, rest) if again else lanes.put_back(rest)
                elif again:
                    lanes.wait(again, 1, 0.0)
                stored = DeliveryCursor.parse(str(window.cursor()))
                certain = set(range(stored.low.offset)) | {
                    offset for r in stored.finished for offset in range(r.first, r.end)
                }
                assert certain <= set(taken), "the cursor speaks of an event that was never taken"
                lanes.settle(done, again)
            if read == len(users) and not window.events:
                stored = DeliveryCursor.parse(str(window.cursor()))
                break
        if stored.low.offset == len(users) and not stored.finished:
            break
    else:
        raise AssertionError("it never came to an end")

    assert set(taken) == set(range(len(users)))
    if ordering == "none":
        return
    # Taken again after a crash are only events whose outcome was not stored; the first time counts.
    firsts: defaultdict[bytes | None, list[int]] = defaultdict(list)
    for offset in dict.fromkeys(taken):
        firsts[key(offset)].append(offset)
    for order in firsts.values():
        assert order == sorted(order)


def test_without_a_crash_nothing_is_taken_twice_and_ranges_above_the_mark_survive_a_restart() -> None:
    window = Window(DeliveryCursor(BEGINNING))
    items = [item(offset) for offset in range(10)]
    for one in items:
        window.add(one)
    window.read(Position(10, EPOCH))
    window.finish([items[0], items[1], items[4], items[5], items[9]])
    cursor = window.cursor()
    assert cursor == DeliveryCursor.parse(f"{EPOCH:016x}.2 {EPOCH:016x}.4-6 {EPOCH:016x}.9-10")
    again = Window(cursor)
    assert [offset for offset in range(2, 10) if again.was_finished(offset, EPOCH)] == [4, 5, 9]


def test_ranges_that_were_not_read_yet_are_kept() -> None:
    window = Window(DeliveryCursor.parse(f"{EPOCH:016x}.2 {EPOCH:016x}.4-6 {EPOCH:016x}.9-10"))
    assert not window.was_finished(2, EPOCH)
    first = item(2)
    window.add(first)
    window.read(Position(3, EPOCH))
    window.finish([first])
    assert window.cursor() == DeliveryCursor.parse(f"{EPOCH:016x}.3 {EPOCH:016x}.4-6 {EPOCH:016x}.9-10")


def test_a_range_of_another_history_of_the_log_is_not_believed() -> None:
    window = Window(DeliveryCursor.parse(f"{EPOCH:016x}.2 {9:016x}.4-6"))
    assert not window.was_finished(4, EPOCH)
    assert Window(DeliveryCursor.parse(f"{EPOCH:016x}.2 {EPOCH:016x}.4-6")).was_finished(4, EPOCH)


def test_a_probe_that_failed_lets_other_users_of_its_group_be_asked_and_keeps_its_own_users_order() -> None:
    lanes = Lanes()
    for offset, key in enumerate([b"a", b"b", b"a", None, b"b"]):
        lanes.add(item(offset, key))
    taken = lanes.take(9, 100)
    assert taken is not None
    group = lanes.wait(taken.items, 1, 0.0)
    asked = []
    for _ in range(6):
        probe = lanes.split(group)
        asked += offsets(probe)
        lanes.rejoin(probe.items, group)
    assert asked == [0, 1, 3, 0, 1, 3]
    assert offsets(group) == [0, 2, 1, 4, 3]


def test_halves_have_each_user_in_one_of_them() -> None:
    lanes = Lanes()
    items = [item(offset, key) for offset, key in enumerate([b"a", b"b", b"a", None, None, b"b"])]
    first, second = lanes.halves(items)
    assert [one.position.offset for one in first] == [0, 2, 1, 5]
    assert [one.position.offset for one in second] == [3, 4]
    assert lanes.halves([items[0], items[2]]) == [[items[0], items[2]]]
