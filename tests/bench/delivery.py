"""How fast events go from the log to destinations: `python -m tests.bench.delivery`.

Everything is as in the daemon (log, state.db, clock), in one process and on one loop; the webhook's receiver is a
process of its own. Figures are events a second from the start of a consumer to its last stored cursor.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import anyio
from aiohttp import web

from cdpd.clock import SystemClock
from tests.bench.mapping import MAPPING
from tests.delivery.rig import Rig
from tests.stored import event


def large_event(number: int) -> bytes:
    """An “Order Completed” of 1.4 KB, as in BASELINES.md."""
    products = [
        {
            "product_id": f"p{number}-{i}",
            "sku": f"G-32-{i}",
            "name": "Monopoly: 3rd Edition",
            "price": 18.99 + i,
        }
        for i in range(8)
    ]
    properties = {"order_id": f"o{number}", "total": 27.5, "currency": "USD", "products": products}
    context = {
        "ip": "203.0.113.9",
        "library": {"name": "analytics.js", "version": "4.1.0"},
        "locale": "en-GB",
    }
    line = event(
        number, userId=f"u{number % 997}", event="Order Completed", properties=properties, context=context
    )
    return json.dumps(line, separators=(",", ":")).encode()


DROPS_NONE = {"if": "type = 'track' and event = 'Signed Up'", "actions": [{"type": "drop"}]}
TAKES_FIELDS = {
    "if": "type = 'track'",
    "actions": [{"type": "drop_properties", "fields": {"context": ["ip"], "properties.products": ["sku"]}}],
}


def mapped(url: str) -> dict[str, Any]:
    """A mapping of ten fields, as in `tests.bench.mapping`."""
    return {"url": url, "data": MAPPING}


def receiver(pipe: Connection) -> None:
    """A receiver that reads each request and answers 200."""

    async def serve() -> None:
        async def answer(request: web.Request) -> web.Response:
            await request.read()
            return web.Response()

        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await runner.cleanup()

    asyncio.run(serve())


async def measure(
    folder: Path, events: int, destinations: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Destination → events a second, each started alone over the same log."""
    rig = Rig(folder)
    rig.clock = SystemClock()  # type: ignore[assignment]  # real time is what is measured
    found = {}
    async with rig.open():
        lines = [large_event(i) for i in range(2000)]
        for _ in range(0, events, len(lines)):
            await rig.events.append(lines, config_id=1)
        async with rig.delivering() as _:
            for name, options in destinations.items():
                begun, cpu = time.perf_counter(), time.process_time()
                await rig.delivery.apply(rig.config({name: {"from": "beginning", **options}}))
                while rig.low(name) < rig.events.end.offset:  # noqa: ASYNC110 - state.db tells nobody
                    await asyncio.sleep(0.005)
                seconds = time.perf_counter() - begun
                found[name] = events / seconds
                print(
                    f"{name:28} {events / seconds:10,.0f} events/s   "
                    f"{(time.process_time() - cpu) / events * 1e6:6.1f} µs of processor an event",
                    flush=True,
                )
    return found


async def measure_all(events: int) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receiver, args=(theirs,), daemon=True)
    process.start()
    url = await asyncio.to_thread(ours.recv)
    async with aiohttp.ClientSession() as session, session.post(url, data=b"warm"):
        pass
    with tempfile.TemporaryDirectory() as folder:
        await measure(
            Path(folder),
            events,
            {
                "null": {"type": "null"},
                "null, nothing connected": {"type": "null", "sources": ["other"]},
                "null, a filter": {"type": "null", "filters": [DROPS_NONE]},
                "null, fields taken out": {"type": "null", "filters": [TAKES_FIELDS]},
                "webhook, mapped, 500s": {
                    "type": "webhook",
                    "actions": [{"action": "send", "when": 'type = "track"', "mapping": mapped(url)}],
                    "batch": {"max_events": 500},
                },
                "file": {"type": "file", "path": f"{folder}/out.ndjson"},
                "webhook, batches of 500": {
                    "type": "webhook", "url": url, "mode": "batch", "batch": {"max_events": 500},
                },
                "webhook, single": {"type": "webhook", "url": url},
            },
        )  # fmt: skip
    ours.send("stop")
    process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure delivery.")
    parser.add_argument("--events", type=int, default=100_000)
    anyio.run(measure_all, parser.parse_args().events, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
