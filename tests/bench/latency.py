"""How late things are: `python -m tests.bench latency [--short] [--json]`.

Accept → delivered on an idle daemon: one event every 50 ms to a webhook in this process, from the request's start to
the vendor having it; beside it the disk's own sync. The answer's p99 at 500 single events a second, idle and while a
backlog of a million events (`--short`: 20,000) is worked off.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

from tests.bench.bodies import Bodies
from tests.bench.paced import Load, send
from tests.bench.report import Figure, figure, is_short, rounds, show
from tests.bench.servers import Daemon, daemon, scratch
from tests.bench.steady import NULL


def sync_times(count: int = 200) -> list[float]:
    """Seconds of a write of 2 KB and its `fdatasync`, as the disk is now."""
    times = []
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        fd = os.open(Path(folder) / "probe", os.O_WRONLY | os.O_CREAT, 0o600)
        for _ in range(count):
            begin = time.perf_counter()
            os.write(fd, b"x" * 2048)
            os.fdatasync(fd)
            times.append(time.perf_counter() - begin)
        os.close(fd)
    return sorted(times)


async def _delivered(count: int) -> list[float]:
    """Seconds from sending each event to its vendor having it."""
    got: dict[str, asyncio.Future[float]] = {}

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        now = time.perf_counter()
        event = json.loads(await request.read())
        for one in event if isinstance(event, list) else [event]:
            got[one["messageId"]].set_result(now)
        return web.Response()

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    times = []
    config = f'[destinations.out]\ntype = "webhook"\nurl = "http://127.0.0.1:{runner.addresses[0][1]}/"\n'
    bodies = Bodies(3)
    with daemon(config) as whole:
        async with aiohttp.ClientSession(headers={"Authorization": "Basic d2tfYmVuY2g6"}) as session:
            for number in range(count + 20):
                event = bodies.event()
                got[event["messageId"]] = asyncio.get_running_loop().create_future()
                begin = time.perf_counter()
                url = f"http://127.0.0.1:{whole.port}/v1/track"
                async with session.post(url, data=bodies.dumped(event)) as answer:
                    assert answer.status == 200
                end = await got[event["messageId"]]
                if number >= 20:
                    times.append(end - begin)
                await asyncio.sleep(0.05)
    await runner.cleanup()
    return sorted(times)


def answers(backlog: int) -> tuple[float, float]:
    """(p99 of the answer when idle, and while the backlog is worked off), seconds."""
    seconds = 2 if is_short() else 10
    with daemon(NULL) as whole:
        idle = send(Load(whole.port, 500, seconds, connections=16, seed=5))
        folder = whole.folder
        whole.stop()
        # The backlog: the pipeline has no position, so it begins anew with all that `received` holds.
        _fill(folder, backlog)
        again = Daemon(folder, NULL)
        busy = send(Load(again.port, 500, seconds, connections=16, seed=6))
        left = again.lag("out")
        again.stop()
    if not left and not is_short():
        raise SystemExit("the backlog was worked off before the load ended: make it larger")
    return idle.p99, busy.p99


def _fill(folder: Path, events: int) -> None:
    """Append so many lines to `received` of a daemon that does not run."""
    import anyio

    from cdpd.clock import SystemClock
    from cdpd.log.stream import StreamOptions, open_stream

    async def fill() -> None:
        bodies = Bodies(11)
        async with open_stream(
            folder / "data" / "log" / "received", clock=SystemClock(), options=StreamOptions(), report=print
        ) as received:
            for first in range(0, events, 500):
                lines = []
                for number in range(first, first + 500):
                    event = bodies.event() if number < 20_000 else None
                    text = bodies.dumped(event) if event else _again(lines_kept, number)
                    if event:
                        lines_kept.append(text)
                    identity = f'"fill-{number:016x}"'.encode()
                    lines.append(
                        b'{"receivedAt":"2026-11-24T00:00:00.000Z","source":"bench","messageId":'
                        + identity
                        + b',"via":{"path":"/v1/track","ip":"127.0.0.1"},"event":'
                        + text
                        + b"}"
                    )
                await received.append(lines, config_id=1)

    lines_kept: list[bytes] = []
    anyio.run(fill)


def _again(kept: list[bytes], number: int) -> bytes:
    return kept[number % len(kept)]


def measure() -> list[Figure]:
    medians, late, syncs, idle, busy = [], [], [], [], []
    for _ in range(rounds()):
        probe = sync_times()
        syncs.append(probe[len(probe) // 2] * 1000)
        times = uvloop.run(_delivered(20 if is_short() else 200))
        medians.append(times[len(times) // 2] * 1000)
        late.append(times[int(len(times) * 0.99)] * 1000)
        one, two = answers(20_000 if is_short() else 1_000_000)
        idle.append(one * 1000)
        busy.append(two * 1000)
    two_syncs = 2 * max(syncs)
    return [
        figure("the disk's own sync, median", "ms", syncs),
        figure(
            "accept → delivered, median",
            "ms",
            medians,
            (),
            "10 ms and two syncs",
            lambda one: one.median <= 10 + two_syncs,
        ),
        figure(
            "accept → delivered, p99",
            "ms",
            late,
            (),
            "30 ms and two syncs",
            lambda one: one.median <= 30 + two_syncs,
        ),
        figure("answer p99 at 500/s, idle", "ms", idle),
        figure(
            "answer p99 at 500/s, a million behind",
            "ms",
            busy,
            (),
            "3 times idle, at least 10 ms",
            lambda one: one.median <= max(3 * idle[len(idle) // 2], 10),
        ),
    ]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
