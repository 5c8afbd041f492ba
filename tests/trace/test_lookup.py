"""An id is found wherever it stands: indexed or not, closed or live, recompressed, past damage; and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cdpd.config.data_folder import STREAMS, ids_folder, stream_folder
from cdpd.log.errors import Damage
from cdpd.log.files import OsFiles
from cdpd.log.recompress import Recompression
from cdpd.log.segment import segment_bases, segment_path
from cdpd.trace.gather import gather
from cdpd.trace.lookup import Looked, Lookup
from cdpd.trace.scan import Needle
from tests.stored import discarded, event, received, store

FILES = OsFiles()
LINES: dict[str, Callable[..., dict[str, Any]]] = {
    "received": received, "events": event, "discarded": discarded
}  # fmt: skip


def index(data_dir: Path, stream: str) -> None:
    """Index all closed segments."""
    folder, ids = stream_folder(data_dir, stream), ids_folder(data_dir, stream)
    FILES.make_folder(ids)
    bases = segment_bases(FILES, folder)
    for base, end in pairwise(bases):
        assert gather(FILES, folder, ids, base, end) is not None


def offsets(looked: Looked) -> list[int]:
    return [line.position.offset for line in looked.hits]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("indexed", [False, True])
def test_an_id_is_found_in_closed_segments_and_in_the_live_one(
    tmp_path: Path, stream: str, indexed: bool
) -> None:
    store(tmp_path, stream, [LINES[stream](number % 20) for number in range(25)], a_segment=4)
    if indexed:
        index(tmp_path, stream)
    lookup = Lookup(tmp_path, stream)
    for number in range(20):
        looked = lookup.find(f"m{number}")
        assert offsets(looked) == [number, number + 20] if number < 5 else [number]
        assert (looked.first, looked.end, looked.unread) == (0, 25, [])
        assert looked.scanned == (1 if indexed else 25)
    assert offsets(lookup.find("m")) == offsets(lookup.find("m99")) == []


def test_an_id_that_a_value_merely_contains_is_not_found(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1, properties={"messageId": "m2", "note": "m2"}), event(2)])
    assert offsets(Lookup(tmp_path, "events").find("m2")) == [1]


@pytest.mark.parametrize(
    "message_id", ["a/b", "ünïcode-öäü", 'say "hi"', "x", "tab\there", "\\u0041", "日本"]
)
@pytest.mark.parametrize("indexed", [False, True])
def test_ids_that_json_may_write_in_several_ways_are_found(
    tmp_path: Path, message_id: str, indexed: bool
) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in message_id)
    lines = [
        b'{"messageId":"%s","type":"track"}' % escaped.encode(),
        event(1, messageId=message_id),
        event(2),
    ]
    store(tmp_path, "events", lines, a_segment=1)
    if indexed:
        index(tmp_path, "events")
    # Nobody writes letters as escapes: such an id is looked for as it is, until its segment is indexed.
    as_it_is = Needle("events", message_id).part and not indexed
    assert offsets(Lookup(tmp_path, "events").find(message_id)) == ([1] if as_it_is else [0, 1])


def test_lines_that_are_no_events_do_no_harm(tmp_path: Path) -> None:
    odd = [b'{"messageId":7}', b"[]", b'"messageId"', b'{"messageId":{"a":"m1"}}', b'{"x":"m1"}']
    store(tmp_path, "events", [*odd, event(1)], a_segment=3)
    assert offsets(Lookup(tmp_path, "events").find("m1")) == [5]
    index(tmp_path, "events")
    assert offsets(Lookup(tmp_path, "events").find("m1")) == [5]


def test_only_the_range_that_is_asked_for_is_looked_at(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1) for _ in range(20)], a_segment=4)
    for _ in range(2):
        looked = Lookup(tmp_path, "events").find("m1", 6, 11)
        assert (looked.first, looked.end, offsets(looked)) == (6, 11, [6, 7, 8, 9, 10])
        index(tmp_path, "events")
    assert offsets(Lookup(tmp_path, "events").find("m1", 30)) == []


def test_an_index_stays_true_when_segments_are_recompressed(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", [event(number) for number in range(20)], a_segment=10)
    index(tmp_path, "events")
    for base, end in ((0, 10),):
        job = Recompression(FILES, folder, base, end)
        while job.step():
            pass
        assert job.swap()
        job.finish()
        job.close()
    lookup = Lookup(tmp_path, "events")
    assert [offsets(lookup.find(f"m{number}")) for number in range(20)] == [[number] for number in range(20)]
    assert lookup.find("m3").scanned == 10  # of the live one


def test_an_index_of_another_log_is_not_believed(tmp_path: Path) -> None:
    store(tmp_path / "a", "events", [event(number) for number in range(20)], a_segment=5)
    index(tmp_path / "a", "events")
    store(tmp_path / "b", "events", [event(number + 100) for number in range(20)], a_segment=5)
    (tmp_path / "a" / "ids").rename(tmp_path / "b" / "ids")
    looked = Lookup(tmp_path / "b", "events").find("m103")
    assert (offsets(looked), looked.scanned) == ([3], 20)


def test_an_index_file_that_is_broken_is_not_missed(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(number) for number in range(20)], a_segment=5)
    index(tmp_path, "events")
    for path in ids_folder(tmp_path, "events").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert offsets(Lookup(tmp_path, "events").find("m3")) == [3]


def test_damage_is_passed_and_told(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", [event(number) for number in range(20)], a_segment=10)
    path = segment_path(folder, 0)
    content = bytearray(path.read_bytes())
    at = content.find(b"\x28\xb5\x2f\xfd", len(content) // 2)
    content[at : at + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    looked = Lookup(tmp_path, "events").find("m1")
    assert offsets(looked) == [1]
    (unread,) = looked.unread
    assert 0 < unread.first < unread.end <= 10
    assert offsets(Lookup(tmp_path, "events").find("m9")) == [9]
    with pytest.raises(Damage):
        gather(FILES, folder, ids_folder(tmp_path, "events"), 0, 10)


def test_nothing_is_found_where_nothing_is_stored(tmp_path: Path) -> None:
    assert Lookup(tmp_path, "events").find("m1") == Looked("events", 0, 0, [], [])
