"""`@segment/analytics-node`, unmodified, against a running daemon."""

from __future__ import annotations

import json
from pathlib import Path

import anyio

from tests.clients.proxy import proxy
from tests.clients.same import assert_each_once
from tests.running import running
from tests.services import node_modules, program

CONFIG = """
[sources.website]
write_keys = ["wk_clients_node"]
"""


async def test_the_six_calls_arrive_once_and_unchanged(tmp_path: Path) -> None:
    node, modules = program("node"), node_modules()
    script = Path(__file__).with_name("six_calls.mjs")
    async with running(tmp_path, CONFIG) as daemon, proxy(daemon.url) as between:
        done = await anyio.run_process([node, str(script), str(modules), between.url, "wk_clients_node"])
        assert json.loads(done.stdout) == {"errors": []}
        stored = await daemon.wait_for("events", 6)
        assert_each_once(between, stored)
        assert not daemon.lines("discarded")
