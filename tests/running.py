"""A real daemon in a process of its own, for tests that use it as a user would."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process, TaskGroup, TaskStatus
from anyio.streams.text import TextReceiveStream

from cdpd.event import BEGINNING
from cdpd.log.folder import StreamFolder

PATIENCE = 30.0
"""Seconds after which a test gives up waiting for something that must happen."""
_LISTENS = re.compile(r"cdpd listens on (https?://\S+?)[,;]")


def key_header(write_key: str) -> dict[str, str]:
    """How SDKs name their write key."""
    return {"Authorization": "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()}


def roles(groups: Sequence[Sequence[str]]) -> str:
    """What the configuration says for a process for each of these groups of roles; one process where there is none."""
    return f"\n[process]\nroles = {json.dumps(groups)}\n" if groups else ""


class RunningDaemon:
    """`cdpd run` on a data folder; may be killed and started again."""

    def __init__(self, folder: Path, config: str, tasks: TaskGroup, listen: str, python: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "cdpd.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(config)
        self.config.chmod(0o600)
        self.listen = listen
        self.python = python
        self.url = ""
        self.launcher: Sequence[str] = ()
        """A command that starts the daemon's own, which follows."""
        self.passed: Sequence[int] = ()
        """Open files that it gets, under the same numbers."""
        self.environ: Mapping[str, str] = {}
        """What its environment has besides ours."""
        self.output = ""
        """What it has said on stdout."""
        self._tasks = tasks
        self._process: Process | None = None

    def command(self, *arguments: str) -> list[str]:
        """A command line of ours on this daemon's configuration and data."""
        return [
            *(self.python, "-P", "-m", "cdpd", *arguments),
            *("--config", str(self.config), "--data-dir", str(self.data)),
        ]

    async def start(self) -> None:
        """Start it and wait until it answers requests; what it logs goes to `daemon.log`."""
        with anyio.fail_after(PATIENCE):
            await self._tasks.start(self._run)
        found = _LISTENS.match(self.output)
        assert found, f"the daemon said {self.output!r} (exit code {self.ended}); its log:\n{self.log()}"
        self.url = found[1]

    async def _run(self, *, task_status: TaskStatus[None]) -> None:
        self.output = ""
        with (self.folder / "daemon.log").open("a") as log:
            self._process = process = await anyio.open_process(
                [*self.launcher, *self.command("run", "--listen", self.listen)],
                stderr=log,
                pass_fds=self.passed,
                env={**os.environ, **self.environ},
            )
        assert process.stdout is not None
        started = False
        async for text in TextReceiveStream(process.stdout):
            self.output += text
            if not started and "\n" in self.output:
                started = True
                task_status.started()
        if not started:
            task_status.started()

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended from here."""
        return self._process is not None

    @property
    def ended(self) -> int | None:
        """How it ended though nobody here ended it: its exit code, or minus the signal."""
        return None if self._process is None else self._process.returncode

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        """`kill -9`."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM, and wait; the exit code."""
        return await self._end(signal.SIGTERM)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _end(self, number: int) -> int:
        process, self._process = self._process, None
        assert process is not None
        if process.returncode is None:
            process.send_signal(number)
        with anyio.fail_after(PATIENCE):
            return await process.wait()

    async def close(self) -> None:
        if self._process is not None:
            await self.kill()

    def stream(self, name: str) -> StreamFolder:
        return StreamFolder(self.data / "log" / name)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Everything that is durable in a stream now."""
        reader = self.stream(name).reader()
        found: list[dict[str, Any]] = []
        while (piece := reader.read()) is not None:
            found += [json.loads(line) for _, _, _, line in piece.records()]
        reader.close()
        return found

    async def wait_for(
        self, name: str, enough: int | Callable[[list[dict[str, Any]]], bool]
    ) -> list[dict[str, Any]]:
        """The lines of a stream once there are `enough` (a number, or a test of all lines so far)."""
        found: list[dict[str, Any]] = []
        done = enough if callable(enough) else lambda lines: len(lines) >= enough
        with anyio.move_on_after(PATIENCE) as patience:
            async for piece in self.stream(name).follow(BEGINNING):
                found += [json.loads(line) for _, _, _, line in piece.records()]
                if done(found):
                    return found
        assert patience.cancelled_caught
        raise AssertionError(
            f"waited {PATIENCE:g} s for {name}, got {len(found)} lines; the daemon's log:\n{self.log()}"
        )


@asynccontextmanager
async def running(
    folder: Path, config: str, listen: str = "127.0.0.1:0", python: str = sys.executable
) -> AsyncIterator[RunningDaemon]:
    """A daemon that runs inside the `with`, killed at its end where it still runs."""
    async with anyio.create_task_group() as tasks:
        daemon = RunningDaemon(folder, config, tasks, listen, python)
        try:
            await daemon.start()
            yield daemon
        finally:
            with anyio.CancelScope(shield=True):
                await daemon.close()
