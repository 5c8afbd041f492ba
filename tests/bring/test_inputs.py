"""What is found in a folder, and in which order."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cdpd.bring.inputs import local, order, piped
from cdpd.bring.unpack import Unreadable


def test_a_folder_gives_its_archives_by_day_and_number(tmp_path: Path) -> None:
    names = [
        "rudder-logs/src/12-31-2023/a.json.gz",
        "rudder-logs/src/01-02-2024/9.json.gz",
        "rudder-logs/src/01-02-2024/10.json.gz",
        "rudder-logs/src/2024-02-01/a.json.gz",
    ]
    others = [
        "rudder-logs/README.txt",
        "rudder-logs/.hidden.gz",
        "rudder-logs/.git/x.json",
        "rudder-logs/_temp.gz",
    ]
    for name in reversed(names + others):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * len(name))
    found = local(tmp_path)
    assert [file.name for file in found.found] == [str(tmp_path / name) for name in names]
    assert found.left_out == 2
    assert found.size == sum(map(len, names))
    assert b"".join(found.open(found.found[0])) == b"x" * len(names[0])


def test_a_file_that_is_named_itself_may_be_called_anything(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(b"{}")
    (found,) = local(tmp_path / "events").found
    assert found.size == 2
    assert found.stamp


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"cannot read .*nothing.gz: no such file"):
        local(tmp_path / "nothing.gz")


def test_a_pipe_is_read_once() -> None:
    found = piped(io.BytesIO(b"abc"))
    assert b"".join(found.open(found.found[0])) == b"abc"
    assert not found.resumable
    assert found.size is None


def test_segments_days_are_numbers() -> None:
    days = ["logs/999999999999/a.gz", "logs/1704067200000/a.gz", "logs/1704153600000/a.gz"]
    assert sorted(days, key=order) == days
