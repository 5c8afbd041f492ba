"""Recompression in a running daemon: what is read stays the same, whatever ends it in the middle."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import anyio

from tests.running import RunningDaemon, key_header, running
from tests.until import until

CONFIG = """
[log]
segment_bytes = 20000
[sources.website]
write_keys = ["wk_1"]
[destinations.out]
type = "file"
path = "{}"
from = "beginning"
"""


async def test_closed_segments_shrink_and_nobody_notices(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    async with running(tmp_path / "daemon", CONFIG.format(out)) as daemon:
        async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:
            for i in range(300):
                body = {"type": "track", "event": "E", "userId": "u", "messageId": f"m{i}"}
                async with client.post(f"{daemon.url}/v1/track", json=body) as answer:
                    assert answer.status == 200
        before = await daemon.wait_for("events", 300)
        received = daemon.lines("received")
        size = _size(daemon)
        await daemon.kill()
        # The first look for closed segments is at the start; this one is killed in the middle of it, perhaps.
        await daemon.start()
        await daemon.kill()
        await daemon.start()
        await until(lambda: _recompressed(daemon))
        assert daemon.lines("events") == before
        assert daemon.lines("received") == received
        assert _size(daemon) < size / 2
        done = await anyio.run_process(daemon.command("log", "verify"), check=False)
        assert done.returncode == 0, done.stdout
        listed = await anyio.run_process(daemon.command("log", "ls", "events"))
        assert "recompressed" in listed.stdout.decode()
        assert "sealed segments recompressed" in daemon.log()
        assert len({json.loads(line)["messageId"] for line in _text(out).splitlines()}) == 300


def _size(daemon: RunningDaemon) -> int:
    return sum(info.bytes for name in ("received", "events") for info in daemon.stream(name).segments())


def _recompressed(daemon: RunningDaemon) -> bool:
    infos = [info for name in ("received", "events") for info in daemon.stream(name).segments()[:-1]]
    return len(infos) > 4 and all(info.recompressed for info in infos)


def _text(path: Path) -> str:
    return path.read_text()
