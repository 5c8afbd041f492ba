"""One daemon a data folder, with all its processes: also with one that outlives the others for a moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdpd.data_lock import DataInUse, locked

HOLDER = """
import subprocess, sys
from pathlib import Path
from cdpd.data_lock import locked
with locked(Path(sys.argv[1])) as lock:
    left = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=[lock],
                            stdin=sys.stdin, stdout=subprocess.DEVNULL)
    print(left.pid, flush=True)
    if sys.argv[2] == "stays":
        left.wait()
"""
"""A daemon with one more process, which ends with standard input."""


def hold(folder: Path, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def test_a_second_one_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    with hold(tmp_path, "stays") as first:
        with (
            pytest.raises(DataInUse, match="stop it first, or use another data folder") as refused,
            locked(tmp_path),
        ):
            pass
        assert f"(pid {first.pid})" in str(refused.value)
        first.communicate()
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_what_is_left_of_one_that_is_no_more_is_waited_for(tmp_path: Path) -> None:
    with hold(tmp_path, "ends") as first:
        first.wait()
        with pytest.raises(DataInUse), locked(tmp_path, patience=0):
            pass
        assert first.stdin is not None
        first.stdin.close()
        with locked(tmp_path):
            pass
