"""`cdpd backup`: what it prints, and its exit codes. What it copies: tests/backup."""

from __future__ import annotations

import json
from pathlib import Path

from tests.stored import event, store, store_all

from .conftest import Cdpd


def test_it_says_what_the_copy_holds_and_what_was_new(cdpd: Cdpd, tmp_path: Path) -> None:
    data = store_all(tmp_path / "data")
    ran = cdpd("backup", tmp_path / "copy", "--data-dir", data)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{tmp_path / 'copy'} holds 2 lines of events, ")
    assert "2 lines of received; " in ran.out
    store(data, "events", [event(3)])
    ran = cdpd("backup", tmp_path / "copy", "--json", "--data-dir", data)
    answer = json.loads(ran.out)
    assert answer["streams"]["events"] == {"begin": 0, "end": 3}
    assert 0 < answer["copied_bytes"] < 3000
    assert cdpd("log", "cat", "events", "--data-dir", tmp_path / "copy").lines[2:]


def test_damage_is_told_and_exits_1(cdpd: Cdpd, tmp_path: Path) -> None:
    data = store_all(tmp_path / "data")
    folder = store(data, "events", map(event, range(3, 9)), a_segment=3)
    path = sorted(folder.glob("*.zst"))[1]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    ran = cdpd("backup", tmp_path / "copy", "--data-dir", data)
    assert ran.code == 1
    assert f"damaged: {tmp_path / 'copy' / 'log' / 'events' / path.name}, byte " in ran.out
    assert "see `cdpd log verify`" in ran.err


def test_what_cannot_be_is_refused_in_one_line(cdpd: Cdpd, tmp_path: Path) -> None:
    data = store_all(tmp_path / "data")
    ran = cdpd("backup", data / "copy", "--data-dir", data)
    assert ran.code == 1
    assert ran.err.startswith("cdpd: the backup was not made: ")
    assert len(ran.err.splitlines()) == 1
    ran = cdpd("backup", tmp_path / "copy", "--data-dir", tmp_path / "nothing")
    assert ran.code == 1
    assert "is it the right folder (--data-dir)?" in ran.err
    ran = cdpd("backup", "/proc/version/x", "--data-dir", data)
    assert ran.code == 1
    assert "Traceback" not in ran.err
