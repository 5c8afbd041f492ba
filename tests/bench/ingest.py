"""How fast ingest is: `python -m tests.bench.ingest [SECONDS]`; needs `wrk`.

Measures, one after the other in one run and each server alone on one core: a bare aiohttp + uvloop server that
reads the body and answers, ingest with a log that takes everything at once, and ingest with the real log. Single
figures swing by 40 % from run to run: compare the ratios.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import msgspec
import structlog
import uvloop
from aiohttp import web

from cdpd.clock import SystemClock
from cdpd.config.address import Listen
from cdpd.config.model import Config
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.server import serve
from cdpd.ingest.settings import IngestSettings
from cdpd.ingest.tracking import Append
from cdpd.log.stream import StreamOptions, open_stream
from cdpd.metrics import Metrics

EVENT = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "node-next-1700000000000-5256e9bc-3d45-4e0e-9e0f-befb28c0c87e",
    "userId": "user-4711",
    "timestamp": "2026-11-23T20:35:59.388Z",
    "properties": {
        "order_id": "50314b8e9bcf000000000000",
        "revenue": 25.00,
        "currency": "USD",
        "products": [
            {
                "product_id": f"507f1f77bcf86cd79943901{n}",
                "sku": f"45790-3{n}",
                "name": "Monopoly: 3rd Edition",
                "price": 19,
                "category": "Games",
                "url": f"https://www.example.com/product/path/{n}",
            }
            for n in range(4)
        ],
    },
    "context": {
        "library": {"name": "@segment/analytics-node", "version": "3.1.0"},
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        "page": {"url": "https://www.example.com/a/b", "path": "/a/b", "title": "A title"},
        "locale": "en-US",
    },
    "integrations": {},
}
KEY = "wk_bench"
BATCH = 100


async def bare(tell: Callable[[int], None]) -> None:
    """What aiohttp can do at most: read the body, answer a constant."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=b'{"success":true}', content_type="application/json")

    def request(*args: object) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(*args, loop, client_max_size=64 * 1024 * 1024)  # type: ignore[arg-type]

    server = web.Server(handle, request_factory=request, access_log=None)  # type: ignore[arg-type]
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, backlog=1024)
    tell(listener.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


async def ours(tell: Callable[[int], None]) -> None:
    """Ingest over an append that returns at once."""

    async def append(lines: Sequence[bytes], config_id: int) -> object:
        return None

    await _serve(append, tell)


async def durable(tell: Callable[[int], None]) -> None:
    """Ingest over the real log, which syncs before it answers."""
    with tempfile.TemporaryDirectory(prefix="cdpd-bench-") as folder:
        async with open_stream(
            Path(folder) / "received", clock=SystemClock(), options=StreamOptions(), report=print
        ) as received:

            async def append(lines: Sequence[bytes], config_id: int) -> object:
                return await received.append(lines, config_id=config_id)

            await _serve(append, tell)


async def _serve(append: Append, tell: Callable[[int], None]) -> None:
    config = msgspec.convert({"sources": {"bench": {"write_keys": [KEY]}}}, Config)
    ingest = Ingest(
        settings=IngestSettings.of(config, 1),
        append=append,
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


SERVERS = {"bare aiohttp": bare, "cdpd, no log": ours, "cdpd, durable": durable}


def run_server(name: str, pipe: Connection) -> None:
    """One of SERVERS on the first core; tells its port through the pipe."""
    os.sched_setaffinity(0, {0})
    uvloop.run(SERVERS[name](pipe.send))


def requests_per_second(
    port: int, path: str, body: bytes, connections: int, seconds: float, more: str = ""
) -> float:
    """What `wrk` on the second core gets answered; `more`: Lua that may change the body, `template`."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(body)
        script = Path(folder) / "post.lua"
        script.write_text(
            'wrk.method = "POST"\n'
            f'template = io.open("{folder}/body", "rb"):read("*a")\n'
            "wrk.body = template\n"
            'wrk.headers["Content-Type"] = "application/json"\n'
            'wrk.headers["User-Agent"] = "bench/1"\n'
            'wrk.headers["Authorization"] = "Basic d2tfYmVuY2g6"\n' + more
        )
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script)]
        command = ["taskset", "-c", "1", *command, f"http://127.0.0.1:{port}{path}"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output:
        raise SystemExit(f"the server refused requests:\n{output}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found, output
    return float(found[1])


def _cpu_seconds(pid: int) -> float:
    """What a process and its threads have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Rate(msgspec.Struct):
    """Of one server under one load, the best of all rounds."""

    per_second: float = 0
    """Events a second."""
    per_cpu_second: float = 0
    """Events a second of the server's processor time: says the same on a busy machine."""


def measure(seconds: float, rounds: int = 3) -> dict[str, dict[str, Rate]]:
    """Name of the load → server → its rate."""
    event = json.dumps(EVENT, separators=(",", ":")).encode()
    batch = b'{"batch":[' + b",".join([event] * BATCH) + b'],"sentAt":"2026-11-23T20:35:59.391Z"}'
    loads = {
        "single": ("/v1/track", event, 64, 1),
        "batch": ("/v1/batch", batch, 16, BATCH),
    }
    result: dict[str, dict[str, Rate]] = {load: {} for load in loads}
    context = multiprocessing.get_context("spawn")
    for _ in range(rounds):
        for name in SERVERS:
            here, there = context.Pipe()
            process = context.Process(target=run_server, args=(name, there), daemon=True)
            process.start()
            assert process.pid is not None
            port = here.recv()
            for load, (path, body, connections, events) in loads.items():
                best = result[load].setdefault(name, Rate())
                before, begun = _cpu_seconds(process.pid), time.monotonic()
                rate = requests_per_second(port, path, body, connections, seconds) * events
                used = (_cpu_seconds(process.pid) - before) / (time.monotonic() - begun)
                best.per_second = max(best.per_second, rate)
                best.per_cpu_second = max(best.per_cpu_second, rate / used)
            process.terminate()
            process.join()
    return result


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed")
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"an event of {len(json.dumps(EVENT, separators=(',', ':')))} bytes; batches of {BATCH}")
    print(f"{'':24}{'events/s':>12} {'of bare':>8} {'events/cpu-s':>14} {'of bare':>8}")
    for load, rates in measure(seconds).items():
        bare_rate = rates["bare aiohttp"]
        for name, rate in rates.items():
            print(
                f"{load:8}{name:16}{rate.per_second:12,.0f} {rate.per_second / bare_rate.per_second:8.2f} "
                f"{rate.per_cpu_second:14,.0f} {rate.per_cpu_second / bare_rate.per_cpu_second:8.2f}"
            )


if __name__ == "__main__":
    main()
