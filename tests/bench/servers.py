"""What is measured, each in a process of its own on the first core: a bare server, ingest alone, the whole daemon."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import structlog
import uvloop
from aiohttp import web

from cdpd.clock import SystemClock
from cdpd.config.address import Listen
from cdpd.config.model import Config
from cdpd.control.client import ControlClient, NotRunning
from cdpd.ingest.at_once import AppendThen
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.server import serve
from cdpd.ingest.settings import IngestSettings
from cdpd.ingest.tracking import Append
from cdpd.log.stream import StreamOptions, open_stream
from cdpd.metrics import Metrics
from tests.bench.paced import KEY

TWO_CORES: Final = (os.cpu_count() or 1) >= 2

CONFIG: Final = f"""
[http]
listen = "127.0.0.1:0"

[sources.bench]
write_keys = ["{KEY}"]
"""


async def bare(tell: Callable[[int], None]) -> None:
    """What aiohttp can do at most: read the body, answer a constant."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=b'{"success":true}', content_type="application/json")

    def request(*args: object) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(*args, loop, client_max_size=64 * 1024 * 1024)  # type: ignore[arg-type]  # aiohttp's own

    server = web.Server(handle, request_factory=request, access_log=None)  # type: ignore[arg-type]  # aiohttp's own
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, backlog=1024)
    tell(listener.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


async def without_log(tell: Callable[[int], None]) -> None:
    """Ingest over an append that returns at once."""

    async def append(lines: Sequence[bytes], config_id: int) -> object:
        return None

    def append_then(lines: Sequence[bytes], config_id: int, then: Callable[[str | None], None]) -> None:
        then(None)

    await _serve(append, append_then, tell)


async def durable(tell: Callable[[int], None]) -> None:
    """Ingest over the real log, which syncs before it answers."""
    with tempfile.TemporaryDirectory(prefix="cdpd-bench-", dir=scratch()) as folder:
        async with open_stream(
            Path(folder) / "received", clock=SystemClock(), options=StreamOptions(), report=print
        ) as received:

            async def append(lines: Sequence[bytes], config_id: int) -> object:
                return await received.append(lines, config_id=config_id)

            await _serve(append, received.append_then, tell)


async def _serve(append: Append, append_then: AppendThen, tell: Callable[[int], None]) -> None:
    config = msgspec.convert({"sources": {"bench": {"write_keys": [KEY]}}}, Config)
    ingest = Ingest(
        settings=IngestSettings.of(config, 1),
        append=append,
        append_then=append_then,
        clock=SystemClock(),
        metrics=Metrics(),
        log=structlog.get_logger(),
        ready=lambda: None,
    )
    async with serve(ingest, [Listen("127.0.0.1", 0)]) as bound:
        tell(bound[0].port)
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                return


SERVERS: Final = {"bare aiohttp": bare, "ingest, no log": without_log, "ingest, durable": durable}


def _run(name: str, pipe: Connection) -> None:
    _pin()
    uvloop.run(SERVERS[name](pipe.send))


def _pin() -> None:
    if TWO_CORES:
        os.sched_setaffinity(0, {0})


class Server(msgspec.Struct):
    """A server that runs."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """What it and its threads have used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(name: str) -> Iterator[Server]:
    """One of SERVERS inside the `with`."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(name, there), daemon=True)
    process.start()
    try:
        assert process.pid is not None
        yield Server(here.recv(), process.pid)
    finally:
        process.terminate()
        process.join()


class Daemon:
    """The whole daemon with a configuration of its own. `more`: its destinations and whatever else."""

    def __init__(self, folder: Path, more: str, pinned: bool = True) -> None:
        self.folder = folder
        self.data = folder / "data"
        (folder / "cdpd.toml").write_text(CONFIG + more)
        (folder / "cdpd.toml").chmod(0o600)
        command = [sys.executable, "-m", "cdpd", "run", "--config", str(folder / "cdpd.toml")]
        self.log = folder / "log"
        begun = time.monotonic()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(self.data)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=_pin if pinned else None,
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        self.start_seconds = time.monotonic() - begun
        if "127.0.0.1:" not in said:
            raise SystemExit(f"the daemon did not start: {self.log.read_text()[-2000:]}")
        self.port = int(said.partition("127.0.0.1:")[2].partition(";")[0])
        self.server = Server(self.port, self.process.pid)
        self._control = ControlClient(self.data / "control.sock")

    def status(self) -> dict[str, Any]:
        try:
            return self._control.status()
        except NotRunning as error:
            raise SystemExit(f"the daemon ended: {error}; {self.log.read_text()[-2000:]}") from None

    def reload(self) -> None:
        """Apply its configuration file as it is now."""
        self._control.reload()

    def lag(self, destination: str) -> int:
        """Events that were received and have not been delivered."""
        status = self.status()
        events, received = status["streams"]["events"], status["streams"]["received"]
        behind = int(received["end"]) - int(status["pipeline"]["received"])
        return behind + int(events["end"]) - int(status["destinations"][destination]["position"])

    def received(self) -> int:
        return int(self.status()["streams"]["received"]["end"])

    def memory(self) -> int:
        """Bytes of anonymous memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise SystemExit("no RssAnon in /proc")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@contextmanager
def daemon(more: str, pinned: bool = True, folder: Path | None = None) -> Iterator[Daemon]:
    """A daemon inside the `with`, in a new folder unless one is given."""
    with tempfile.TemporaryDirectory(prefix="cdpd-bench-", dir=scratch()) as made:
        running_daemon = Daemon(folder or Path(made), more, pinned)
        try:
            yield running_daemon
        finally:
            if running_daemon.process.poll() is None:
                running_daemon.stop()


def scratch() -> str | None:
    """Where data goes: CDPD_BENCH_DIR (a folder on the disk that is meant), else the system's temporary folder."""
    return os.environ.get("CDPD_BENCH_DIR")
