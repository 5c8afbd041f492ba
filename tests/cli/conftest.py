"""Running commands: in this process, and in one of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
import structlog
from msgspec import Struct

from cdpd.cli import main
from cdpd.config.data_folder import SOCKET
from cdpd.control.contract import Calls
from cdpd.control.server import serve_control


class Ran(Struct, frozen=True):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def objects(self) -> list[Any]:
        """One JSON object a line."""
        return [json.loads(line) for line in self.lines]


Cdpd = Callable[..., Ran]


@pytest.fixture
def cdpd(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cdpd:
    """Run a command line of ours in this process, in an empty folder of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


def in_a_process(*arguments: object, cwd: Path | None = None, stdin: bytes = b"") -> Ran:
    """Run a command line of ours as a program."""
    done = subprocess.run(
        [sys.executable, "-m", "cdpd", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def control_server(data_dir: Path, daemon: Any, more: Calls | None = None) -> Iterator[None]:
    """Serve the control API for `daemon` on that data folder, in another thread; `more` are calls of its parts."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            serve_control(data_dir / SOCKET, daemon, structlog.get_logger(), more)
        ),
    ):
        yield
