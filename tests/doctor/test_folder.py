"""The data folder: rights, owner, filesystem, and how fast it syncs."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cdpd.doctor.finding import Finding
from cdpd.doctor.folder import NETWORK, check_filesystem, check_folder, check_syncs, nearest_folder, ownership
from cdpd.doctor.machine import Machine, Mount

from .machine import FakeMachine, only, told


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder as the daemon makes it."""
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    (made / "log").mkdir(mode=0o700)
    (made / "state.db").touch(mode=0o600)
    return made


def test_a_private_folder_of_ours_is_well(folder: Path) -> None:
    finding = only(check_folder(folder, FakeMachine()))
    assert finding.state == "ok"
    assert finding.text.endswith("'s, and private")


def test_a_folder_that_is_not_there_yet_can_be_made_or_not(tmp_path: Path) -> None:
    missing = tmp_path / "a" / "b"
    assert (
        only(check_folder(missing, FakeMachine())).text == f"{missing} is not there yet: `cdpd run` makes it"
    )
    finding = only(check_folder(missing, FakeMachine(writable=False)))
    assert (finding.state, finding.text) == (
        "problem", f"{missing} is not there, and {tmp_path} cannot be written to",
    )  # fmt: skip
    (tmp_path / "a").touch()
    assert only(check_folder(missing, FakeMachine())).state == "problem"
    assert nearest_folder(missing) == tmp_path / "a"


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert told(check_folder(tmp_path / "data", FakeMachine())) == [
        ("data folder", "problem", f"{tmp_path / 'data'} is no folder")
    ]


def test_a_folder_of_somebody_else_is_told_unless_this_is_root(folder: Path) -> None:
    stranger = 54_321
    finding = only(check_folder(folder, FakeMachine(uid=stranger)))
    assert finding.state == "problem"
    assert "belongs to " in finding.text
    assert f"this is user {stranger}" in finding.text
    assert only(check_folder(folder, FakeMachine(uid=0))).state == "ok"


def test_a_file_of_somebody_else_in_it_is_told(folder: Path) -> None:
    about = list(os.lstat(folder / "state.db"))
    about[4] = 54_321
    inside = {folder / "state.db": os.stat_result(about), folder / "log": os.lstat(folder / "log")}
    finding = only(ownership(folder, inside, FakeMachine()))
    assert finding.state == "problem"
    assert finding.text.startswith(f"{folder / 'state.db'} belongs to user 54321, the folder to ")
    assert "(1 such file): was the daemon once run as another user?" in finding.text
    assert finding.todo.startswith("chown -R ")


def test_a_folder_that_others_can_look_into_is_told(folder: Path) -> None:
    (folder / "state.db").chmod(0o640)
    assert only(check_folder(folder, FakeMachine())).state == "ok", "nobody else gets that far"
    folder.chmod(0o750)
    finding = only(check_folder(folder, FakeMachine()))
    assert finding.state == "warning"
    assert finding.text == f"other users can look into {folder}, and 1 file in it: people's data"
    (folder / "state.db").chmod(0o600)
    (folder / "link").symlink_to("/etc/passwd")
    assert (
        only(check_folder(folder, FakeMachine())).text == f"other users can look into {folder}: people's data"
    )


@pytest.mark.parametrize(
    ("number", "todo"),
    [
        (errno.EROFS, "mount it for writing"),
        (errno.ENOSPC, "make room"),
        (errno.EACCES, "chmod u+rwx it, as its owner"),
        (errno.EIO, "look at its disk: `dmesg` tells more"),
    ],
)
def test_a_folder_that_takes_no_files_is_told(folder: Path, number: int, todo: str) -> None:
    refused = OSError(number, os.strerror(number))
    finding = only(check_folder(folder, FakeMachine(writable=refused)))
    assert finding.text == f"{folder} cannot be written to: {os.strerror(number).lower()}"
    assert (finding.state, finding.todo) == ("problem", todo)


def mounted(folder: Path, kind: str, *options: str) -> Finding:
    return only(check_filesystem(folder, FakeMachine(on=Mount(kind, "/mnt", frozenset(options or ("rw",))))))


def test_the_kind_of_filesystem_is_told(folder: Path) -> None:
    assert mounted(folder, "ext4").text == "ext4 at /mnt"
    assert mounted(folder, "xfs").state == "ok"
    for kind in NETWORK:
        assert mounted(folder, kind).state == "warning"
    assert "a network's" in mounted(folder, "nfs4").text
    assert "is in memory: everything is lost" in mounted(folder, "tmpfs").text
    assert "lost with the container" in mounted(folder, "overlay").text
    assert mounted(folder, "ext4", "ro", "noatime").state == "problem"
    assert list(check_filesystem(folder, FakeMachine(on=None))) == []


def test_how_fast_it_syncs_is_told_with_what_that_means(folder: Path) -> None:
    finding = only(check_syncs(folder, FakeMachine()))
    assert finding.state == "ok"
    assert finding.text == (
        "64 KiB in 1 ms (median), 4 ms (99 %): about 1,000 events/s from a client that waits for each answer, and "
        "clients side by side share a sync, so that it is not the disk that limits them"
    )
    assert finding.facts == {"median_ms": 1.0, "p99_ms": 4.0, "syncs": 100}


@pytest.mark.parametrize(
    ("seconds", "state", "text"),
    [
        ([0.008] * 100, "ok", "about 120 events/s from a client that waits for each answer, 8,000 from 64"),
        ([0.025] * 100, "warning", "64 KiB in 25 ms (median), 25 ms (99 %): about 40 events/s"),
        ([0.001] * 98 + [0.6, 0.7], "warning", "64 KiB in 1 ms (median), 700 ms (99 %)"),
        ([0.3, 0.3], "problem", "64 KiB in 300 ms (median), 300 ms (99 %): about 3 events/s"),
    ],
)
def test_a_slow_disk_is_told(folder: Path, seconds: list[float], state: str, text: str) -> None:
    finding = only(check_syncs(folder, FakeMachine(sync_seconds=seconds)))
    assert finding.state == state
    assert text in finding.text


def test_a_disk_that_cannot_be_synced_is_told(folder: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert told(check_syncs(folder, FakeMachine(sync_seconds=full))) == [
        ("disk sync", "problem", f"nothing could be written and synced in {folder}: no space left on device")
    ]


def test_the_real_disk_is_timed_and_nothing_is_left_there(folder: Path) -> None:
    machine = Machine()
    seconds = machine.syncs(folder)
    assert 0 < len(seconds) <= 100
    assert all(each > 0 for each in seconds)
    assert sorted(path.name for path in folder.iterdir()) == ["log", "state.db"]
    assert machine.mount(folder) is not None
    assert machine.space(folder).total > 0
    machine.write(folder)
    assert machine.may_write(folder)
