"""The file destination: whole lines, through crashes, full disks and logrotate."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cdpd.destinations.file import File
from cdpd.destinations.outcome import Delivered, Misconfigured, TryAgain
from tests.destinations.conftest import Make, batch


def ids(path: Path) -> list[str]:
    return [json.loads(line)["messageId"] for line in path.read_bytes().splitlines()]


async def test_events_are_appended_a_line_each_and_synced_first(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size) or fsync(fd))
    path = tmp_path / "out.ndjson"
    file = make(File, path=str(path))
    assert await file.deliver(batch({}, {})) == [Delivered(), Delivered()]
    assert await file.deliver(batch({"messageId": "m2"})) == [Delivered()]
    await file.stop()
    assert ids(path) == ["m0", "m1", "m2"]
    assert synced[-1] == path.stat().st_size
    assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", []),
        (b'{"messageId":"a"}\n', ["a"]),
        (b'{"messageId":"a"}\n{"messageId":"b","prop', ["a"]),
        (b'{"messageId":"a"}', ["a"]),
        (b'{"messageId":"a"}\n{"messageId":"' + b"x" * 200_000, ["a"]),
        (b'{"messageId":"' + b"x" * 200_000, []),
    ],
)
async def test_a_line_that_a_crash_left_half_written_never_meets_another_event(
    make: Make, tmp_path: Path, before: bytes, after: list[str]
) -> None:
    path = tmp_path / "out.ndjson"
    path.write_bytes(before)
    await make(File, path=str(path)).deliver(batch({}))
    assert ids(path) == [*after, "m0"]


async def test_a_strangers_last_line_is_not_taken_away(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    path.write_bytes(b"notes of mine")
    await make(File, path=str(path)).deliver(batch({}))
    first, second = path.read_bytes().splitlines()
    assert first == b"notes of mine"
    assert json.loads(second)["messageId"] == "m0"


async def test_after_logrotate_and_sighup_a_new_file_is_begun(make: Make, tmp_path: Path) -> None:
    path, old = tmp_path / "out.ndjson", tmp_path / "out.ndjson.1"
    file = make(File, path=str(path))
    await file.deliver(batch({"messageId": "a"}))
    path.rename(old)
    await file.deliver(batch({"messageId": "b"}))
    file.reopen()
    await file.deliver(batch({"messageId": "c"}))
    assert ids(old) == ["a", "b"], "until it is told, it writes on where it was"
    assert ids(path) == ["c"]


async def test_a_missing_folder_pauses_with_what_to_do_and_is_looked_for_again_soon(
    make: Make, tmp_path: Path
) -> None:
    path = tmp_path / "no" / "such" / "out.ndjson"
    file = make(File, path=str(path))
    (outcome,) = await file.deliver(batch({}))
    assert isinstance(outcome, Misconfigured)
    assert f"the folder {path.parent} does not exist: make it" in outcome.reason
    assert outcome.after == 5
    path.parent.mkdir(parents=True)
    assert await file.deliver(batch({})) == [Delivered()]


async def test_a_folder_where_a_file_should_be_pauses(make: Make, tmp_path: Path) -> None:
    (outcome,) = await make(File, path=str(tmp_path)).deliver(batch({}))
    assert isinstance(outcome, Misconfigured)
    assert "is a folder" in outcome.reason


@pytest.mark.parametrize("failing", ["write", "fsync"])
async def test_a_full_disk_leaves_nothing_half_written_and_is_tried_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "out.ndjson"
    file = make(File, path=str(path))
    await file.deliver(batch({"messageId": "a"}))
    write, fsync = os.write, os.fsync
    left = [1]

    def half(fd: int, data: bytes) -> int:
        if left[0]:
            left[0] -= 1
            return write(fd, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, half if failing == "write" else refuse)
        outcomes = await file.deliver(batch({"messageId": "b"}, {"messageId": "c"}))
    assert all(isinstance(outcome, TryAgain) for outcome in outcomes)
    assert ids(path) == ["a"]
    assert os.fsync is fsync
    assert await file.deliver(batch({"messageId": "b"})) == [Delivered()]
    assert ids(path) == ["a", "b"]


def test_a_killed_writer_leaves_lines_that_are_whole_once_the_next_has_begun(tmp_path: Path) -> None:
    """A process is killed amid writing, again and again; every line can be read afterwards."""
    path = tmp_path / "out.ndjson"
    script = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from cdpd.destinations.file import File
log = SimpleNamespace(warning=lambda *a, **k: None)
file = File(SimpleNamespace(path=Path(sys.argv[1])), SimpleNamespace(log=log))
write = os.write
os.write = lambda fd, data: write(fd, data[:37])
n = 0
print(flush=True)
while True:
    file._append(b'{"messageId":"%d","x":"%s"}\\n' % (n, b"x" * 100))
    n += 1
"""
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        while not path.exists() or not path.stat().st_size:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        *whole, last = path.read_bytes().split(b"\n")
        assert all(json.loads(line) for line in whole)
        assert not last or last.startswith(b"{")


async def test_two_instances_on_one_file_never_cut_or_mix_each_others_lines(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.ndjson"
    half_written, go_on = threading.Event(), threading.Event()
    write = os.write

    def slowly(fd: int, data: bytes) -> int:
        if half_written.is_set():
            return write(fd, data)
        count = write(fd, data[: len(data) // 3])
        half_written.set()
        go_on.wait(10)
        return count

    monkeypatch.setattr(os, "write", slowly)
    live, replay = make(File, path=str(path)), make(File, path=str(path))
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(live.deliver(batch({}, {})))
        await asyncio.to_thread(half_written.wait, 10)
        second = tasks.create_task(replay.deliver(batch({"messageId": "r0"})))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.1, go_on.set)
    assert first.result() == [Delivered(), Delivered()]
    assert second.result() == [Delivered()]
    assert ids(path) == ["m0", "m1", "r0"]
