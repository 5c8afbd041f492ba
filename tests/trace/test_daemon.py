"""The index in a running daemon: made of what a run before it left, and used by the command."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import anyio
import pytest

from cdpd.config.data_folder import ids_folder
from cdpd.log.files import OsFiles
from cdpd.trace.ids import ids_in
from cdpd.trace.lookup import Lookup
from tests.running import key_header, roles, running
from tests.until import until

CONFIG = """
[log]
segment_bytes = 20000
[sources.website]
write_keys = ["wk_1"]
[destinations.out]
type = "null"
"""
SEVERAL = [["ingest"], ["process", "deliver"]]


@pytest.mark.parametrize("groups", [[], SEVERAL], ids=["one process", "several"])
async def test_a_daemon_indexes_what_is_closed(tmp_path: Path, groups: list[list[str]]) -> None:
    async with running(tmp_path, CONFIG + roles(groups)) as daemon:
        async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:
            for number in range(120):
                body = {"type": "track", "event": "E", "userId": "u", "messageId": f"m{number}"}
                async with client.post(f"{daemon.url}/v1/track", json=body) as answer:
                    assert answer.status == 200
        await daemon.stop()
        await daemon.start()  # it looks at once, and then every half minute
        await until(lambda: ids_in(OsFiles(), ids_folder(daemon.data, "received")))
        looked = Lookup(daemon.data, "received").find("m3")
        assert [line.position.offset for line in looked.hits] == [3]
        assert looked.scanned < 120
        done = await anyio.run_process(daemon.command("trace", "m3", "--json"))
        (receipt,) = json.loads(done.stdout)["receipts"]
        assert (receipt["fate"], receipt["archived"]["offset"]) == ("archived", 3)
