"""How fast the pipeline is alone: from `received` to `events` through spec, dedup and ip, on one core.

    python -m tests.bench.pipeline [--events N] [--batch N] [--profile] [--more]

Prints events a second from the first line read to the last one durable, and each plugin's time an event. What
ingest would have appended is appended beforehand, in groups of `--batch` lines. With `--more` also each further
built-in hook behind that chain, with 500 user agents and 5,000 addresses, and what it costs as a ratio.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from cdpd.clock import SystemClock
from cdpd.config.model import DEFAULT_HOOKS
from cdpd.event import Position
from cdpd.metrics import HOOK_SECONDS, Metrics
from tests.pipeline.rig import Rig, configuration

_PRODUCT = {
    "product_id": "507f1f77bcf86cd799439011",
    "sku": "45790-32",
    "name": "Monopoly: 3rd Edition",
    "price": 19,
    "position": 1,
    "category": "Games",
    "url": "https://www.example.com/product/path",
    "image_url": "https://www.example.com/product/path.jpg",
}


def received_line(n: int) -> bytes:
    """An “Order Completed” of about 1.4 KB, as the Node SDK sends it."""
    message_id = f"node-next-{1_700_000_000_000 + n}-{uuid.uuid4()}"
    event = {
        "type": "track",
        "event": "Order Completed",
        "userId": f"user-{n % 5000}",
        "anonymousId": str(uuid.uuid4()),
        "messageId": message_id,
        "timestamp": f"2026-11-23T20:33:{n // 1000 % 60:02}.{n % 1000:03}Z",
        "properties": {
            "checkout_id": str(uuid.uuid4()),
            "order_id": str(uuid.uuid4()),
            "affiliation": "Google Store",
            "total": 27.50 + n % 100,
            "revenue": 25.00,
            "shipping": 3,
            "tax": 2,
            "discount": 2.5,
            "coupon": "hasbros",
            "currency": "USD",
            "products": [_PRODUCT, _PRODUCT],
        },
        "context": {
            "library": {"name": "@segment/analytics-node", "version": "2.1.3"},
            "page": {"url": "https://www.example.com/checkout", "title": "Checkout", "path": "/checkout"},
            "userAgent": f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{n % 500}.0 Safari/537.36",
            "locale": "en-US",
        },
        "integrations": {},
    }
    line = {
        "receivedAt": f"2026-11-23T20:34:{n // 1000 % 60:02}.{n // 100 % 10}00Z",
        "source": "website",
        "messageId": message_id,
        "sentAt": f"2026-11-23T20:34:{n // 1000 % 60:02}.{n // 100 % 10}00Z",
        "via": {"path": "/v1/batch", "ip": f"81.2.{n % 5000 >> 8}.{n % 256}", "userAgent": "node-fetch/1.0"},
        "event": event,
    }
    return msgspec.json.encode(line)


async def measure(
    events: int, batch: int, client: bool, profile: bool, more: Mapping[str, Any] | None = None
) -> float:
    """CPU seconds an event of the default chain and the hooks in `more` (name → options) behind it."""
    hooks = [*DEFAULT_HOOKS, *(more or {})]
    with tempfile.TemporaryDirectory() as folder:
        clock, metrics = SystemClock(), Metrics()
        source: dict[str, Any] = {"website": {"write_keys": ["wk"], "type": "javascript" if client else None}}
        async with Rig(Path(folder), clock=clock, metrics=metrics).opened() as rig:
            lines = [received_line(n) for n in range(events)]
            size = sum(map(len, lines)) / events
            for start in range(0, events, batch):
                await rig.received.append(lines[start : start + batch], config_id=1)
            del lines
            chains = rig.chains(configuration(sources=source, pipeline={"hooks": hooks}, hooks=more or {}))
            await chains.startup()
            pipeline = rig.pipeline(chains)
            profiler = cProfile.Profile() if profile else None
            usage, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            async with anyio.create_task_group() as tasks:
                if profiler:
                    profiler.enable()
                tasks.start_soon(pipeline.run)
                await rig.events.wait_beyond(Position(events - 1, 0))
                if profiler:
                    profiler.disable()
                took = time.perf_counter() - began
                after = resource.getrusage(resource.RUSAGE_SELF)
                tasks.cancel_scope.cancel()
            await chains.shutdown()
            assert rig.events.end.offset == events, f"{rig.events.end.offset} of {events} came through"
            cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
            kind = "browser" if client else "server"
            print(
                f"{kind} source, groups of {batch}, {size:.0f} B a line: {events / took:,.0f} events/s, "
                f"{cpu / events * 1e6:.1f} µs of CPU an event"
            )
            for hook in hooks:
                print(f"    {hook}: {metrics.get(HOOK_SECONDS, hook) / events * 1e6:.2f} µs an event")
            if profiler:
                pstats.Stats(profiler).sort_stats("tottime").print_stats(35)
            return cpu / events


async def measure_more(events: int, batch: int) -> None:
    """What each further built-in hook costs."""
    alone = await measure(events, batch, True, False)
    with tempfile.TemporaryDirectory() as folder:
        place = {"country": {"names": {"en": "United Kingdom"}}, "city": {"names": {"en": "London"}}}
        place["location"] = {"latitude": 51.5, "longitude": -0.1, "time_zone": "Europe/London"}
        writer = MMDBWriter(6, "GeoLite2-City", ipv4_compatible=True)
        writer.insert_network(IPSet(["81.2.0.0/16"]), place)
        writer.to_db_file(f"{folder}/city.mmdb")
        options: dict[str, dict[str, Any]] = {
            "user_agent": {},
            "geo": {"path": f"{folder}/city.mmdb"},
            "bots": {},
            "sample": {"rate": 1},
        }
        for name, own in options.items():
            cost = await measure(events, batch, True, False, {name: own})
            print(f"    with {name}: {cost / alone:.2f} times the CPU without")
        cost = await measure(events, batch, True, False, options)
        print(f"    with all of them: {cost / alone:.2f} times the CPU without")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=100_000)
    arguments.add_argument("--batch", type=int, default=400)
    arguments.add_argument("--profile", action="store_true")
    arguments.add_argument("--more", action="store_true")
    given = arguments.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for client in (False, True):
        anyio.run(
            measure,
            given.events,
            given.batch,
            client,
            given.profile,
            backend_options={"use_uvloop": True},
        )
    if given.more:
        anyio.run(measure_more, given.events, given.batch, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
