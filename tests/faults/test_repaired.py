"""Damage under a daemon: what stops, what goes on, and how `cdpd log repair` lets everything go on."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import anyio

from cdpd.log.files import OsFiles
from cdpd.log.segment import walk
from tests.running import RunningDaemon, key_header, running
from tests.until import until

CONFIG = """
[log]
segment_bytes = 4000
recompress = {}
[sources.website]
write_keys = ["wk_1"]
[destinations.out]
type = "file"
path = "{}"
from = "beginning"
enabled = {}
"""


async def send(daemon: RunningDaemon, first: int, count: int) -> None:
    async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:
        for i in range(first, first + count):
            body = {"type": "track", "event": "E", "userId": "u", "messageId": f"m{i}"}
            async with client.post(f"{daemon.url}/v1/track", json=body) as answer:
                assert answer.status == 200


async def test_damage_of_events_stops_its_readers_until_it_is_repaired(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    async with running(tmp_path / "daemon", CONFIG.format("false", out, "false")) as daemon:
        await send(daemon, 0, 40)
        await daemon.wait_for("events", 40)
        assert await daemon.stop() == 0
        lost = damage(sorted((daemon.data / "log" / "events").glob("*.zst"))[1])
        set_config(daemon, CONFIG.format("true", out, "true"))
        await daemon.start()
        await until(lambda: len(delivered(out)) == lost.start)
        await send(daemon, 40, 3)  # events are still taken
        assert (await repair(daemon))[0] == 2, "not while the daemon runs"
        assert "damaged log" in daemon.log()
        assert "`cdpd log repair` makes it holes" in daemon.log()
        await daemon.stop()
        code, said = await repair(daemon)
        assert code == 0
        assert f"  lost: {len(lost)} line" in said
        assert f"--from {lost.start} --to {lost.stop}\n" in said
        await daemon.start()
        await until(lambda: len(delivered(out)) == 43 - len(lost))
        assert delivered(out) == [f"m{i}" for i in range(43) if i not in lost]
        assert (await run(daemon, "log", "verify"))[0] == 0
        # What was lost is still in `received`: a person may send it again.
        _, line = await run(
            daemon, "log", "cat", "received", "--from", f"{lost.start}", "--to", f"{lost.start + 1}"
        )
        assert json.loads(line)["messageId"] == f"m{lost.start}"


async def test_damage_of_received_that_the_pipeline_has_not_read_loses_those_lines_alone(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.ndjson"
    async with running(tmp_path / "daemon", CONFIG.format("false", out, "true")) as daemon:
        await send(daemon, 0, 40)
        await until(lambda: len(delivered(out)) == 40)
        await daemon.stop()
        # As if the pipeline had not come to them: its stream is lost, and begins anew.
        for name in ("events", "discarded"):
            for file in (daemon.data / "log" / name).iterdir():
                file.unlink()
        (daemon.data / "state.db").unlink()
        out.unlink()
        lost = damage(sorted((daemon.data / "log" / "received").glob("*.zst"))[1])
        assert (await repair(daemon))[0] == 0
        await daemon.start()
        await send(daemon, 40, 1)
        await until(lambda: len(delivered(out)) == 41 - len(lost))
        assert delivered(out) == [f"m{i}" for i in range(41) if i not in lost]


async def test_a_lost_end_of_events_comes_again_from_received_and_is_no_duplicate(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    async with running(tmp_path / "daemon", CONFIG.format("false", out, "false")) as daemon:
        await send(daemon, 0, 10)
        await daemon.wait_for("events", 10)
        await daemon.stop()
        lost = damage_last_header(sorted((daemon.data / "log" / "events").glob("*.zst"))[-1])
        assert (daemon.data / "plugins" / "dedup").exists()
        code, said = await repair(daemon)
        assert code == 0
        assert f"it goes over received from offset {lost.start} on again" in said
        assert f"{daemon.data / 'plugins' / 'dedup'}: removed" in said
        set_config(daemon, CONFIG.format("true", out, "true"))
        await daemon.start()
        await until(lambda: len(delivered(out)) == 10)
        assert delivered(out) == [f"m{i}" for i in range(10)]
        assert [line["messageId"] for line in daemon.lines("events")] == delivered(out)
        assert daemon.lines("discarded") == []
        assert (await run(daemon, "log", "verify"))[0] == 0


def damage_last_header(segment: Path) -> range:
    """Change a byte in the header of its last frame; the offsets of the lines in it."""
    file = OsFiles().open(segment)
    try:
        place = list(walk(file, file.size(), segment))[-1]
    finally:
        file.close()
    content = bytearray(segment.read_bytes())
    content[place.at + 30] ^= 1
    segment.write_bytes(content)
    return range(place.header.base, place.header.end)


def damage(segment: Path) -> range:
    """Change a byte in the body of its third frame; the offsets of the lines in it."""
    file = OsFiles().open(segment)
    try:
        place = list(walk(file, file.size(), segment))[2]
    finally:
        file.close()
    content = bytearray(segment.read_bytes())
    content[place.body_at + 20] ^= 1
    segment.write_bytes(content)
    return range(place.header.base, place.header.end)


def set_config(daemon: RunningDaemon, text: str) -> None:
    daemon.config.write_text(text)


def delivered(path: Path) -> list[str]:
    return [json.loads(line)["messageId"] for line in path.read_text().splitlines()] if path.exists() else []


async def run(daemon: RunningDaemon, *arguments: str) -> tuple[int, str]:
    done = await anyio.run_process(daemon.command(*arguments), check=False)
    return done.returncode, done.stdout.decode()


async def repair(daemon: RunningDaemon) -> tuple[int, str]:
    return await run(daemon, "log", "repair")
