"""A process full of vendors for benchmarks: by path they are well, hang, or fail; all can be away for a while."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import uvloop
from aiohttp import web

from tests.bench.servers import TWO_CORES


class Vendors:
    """Runs elsewhere; `url(kind, number)` is one of them. Kinds: good, hang, fail."""

    def __init__(self, port: int, away: Any) -> None:
        self.port = port
        self._away = away

    def url(self, kind: str, number: int = 0) -> str:
        return f"http://127.0.0.1:{self.port}/{kind}/{number}"

    def set_away(self, away: bool) -> None:
        """Whether those that are good answer 503."""
        self._away.value = away


def webhooks(vendors: Vendors, kind: str, count: int, more: str = "") -> str:
    """The configuration of so many destinations `KIND0`, `KIND1` … in batches of up to 500."""
    return "".join(
        f'[destinations.{kind}{number}]\ntype = "webhook"\nmode = "batch"\n'
        f'url = "{vendors.url(kind, number)}"\n{more}\n'
        for number in range(count)
    )


async def _serve(pipe: Connection, away: Any) -> None:
    async def take(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        kind = request.path.split("/")[1]
        if kind == "hang":
            await asyncio.sleep(3600)
        return web.Response(status=500 if kind == "fail" else 503 if away.value else 200)

    def request(*args: object) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(*args, loop, client_max_size=64 * 1024 * 1024)  # type: ignore[arg-type]  # aiohttp's own

    server = web.Server(take, request_factory=request, access_log=None)  # type: ignore[arg-type]  # aiohttp's own
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, backlog=1024)
    pipe.send(listener.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


def _run(pipe: Connection, away: Any) -> None:
    if TWO_CORES:
        os.sched_setaffinity(0, {1})
    uvloop.run(_serve(pipe, away))


@contextmanager
def vendors() -> Iterator[Vendors]:
    """They run inside the `with`, on the second core."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    away = context.Value("b", False)
    process = context.Process(target=_run, args=(there, away), daemon=True)
    process.start()
    try:
        yield Vendors(here.recv(), away)
    finally:
        process.terminate()
        process.join()
