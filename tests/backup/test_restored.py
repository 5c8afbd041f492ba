"""A daemon that is never stopped is backed up under load; another one starts on the copy."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import aiohttp
import anyio

from tests.running import PATIENCE, RunningDaemon, key_header, running
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


async def cdpd(daemon: RunningDaemon, *arguments: str) -> tuple[int, str, str]:
    done = await anyio.run_process(daemon.command(*arguments), check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def delivered(path: Path) -> list[str]:
    return [json.loads(line)["messageId"] for line in path.read_text().splitlines()] if path.exists() else []


def copy_back(backup: Path, data: Path) -> None:
    shutil.copytree(backup, data, dirs_exist_ok=True)


async def test_a_backup_under_load_is_a_data_folder_that_lacks_nothing_acknowledged_before(
    tmp_path: Path,
) -> None:
    backup, out = tmp_path / "backup", tmp_path / "out.ndjson"
    acknowledged: list[str] = []
    async with running(tmp_path / "first", CONFIG.format(out)) as daemon:
        async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:

            async def send(count: int) -> None:
                for _ in range(count):
                    ids = [f"m{len(acknowledged) + i}" for i in range(5)]
                    # One of five is discarded.
                    batch = [
                        {"type": "track" if i else "trak", "event": "E", "userId": "u", "messageId": message}
                        for i, message in enumerate(ids)
                    ]
                    async with client.post(f"{daemon.url}/v1/batch", json={"batch": batch}) as answer:
                        assert answer.status == 200
                    acknowledged.extend(ids)

            await send(100)
            before = list(acknowledged)
            async with anyio.create_task_group() as load:
                load.start_soon(send, 200)
                code, said, wrong = await cdpd(daemon, "backup", str(backup))
                assert (code, wrong) == (0, ""), said
                assert f"{backup} holds " in said
                assert "left out, as they are made again: plugins/dedup" in said
                copy_back(backup, tmp_path / "second" / "data")
            first = json.loads((await cdpd(daemon, "backup", str(backup), "--json"))[1])
            second = json.loads((await cdpd(daemon, "backup", str(backup), "--json", "--check-all"))[1])
        assert first["streams"]["received"]["end"] == len(acknowledged)
        assert second["copied_bytes"] < 200_000
        assert second["damaged"] == []
        await daemon.stop()
    sent = delivered(out)
    copied = json.loads((tmp_path / "second" / "data" / "backup.json").read_text())
    async with running(tmp_path / "second", CONFIG.format(tmp_path / "again.ndjson")) as restored:
        received = await restored.wait_for("received", copied["streams"]["received"]["end"])
        assert set(before) <= {line["messageId"] for line in received}
        events = len([line for line in received if line["event"]["type"] == "track"])
        lines = await restored.wait_for("events", events)
        assert len({line["messageId"] for line in lines}) == len(lines) == events, "none twice"
        discarded = await restored.wait_for("discarded", len(received) - events)
        assert {line["code"] for line in discarded} == {"unknown_type"}
        events = {line["messageId"] for line in lines}  # each delivered by one of the two daemons at least
        await until(lambda: events <= {*sent, *delivered(tmp_path / "again.ndjson")})
        assert (await cdpd(restored, "log", "verify"))[0] == 0
        assert "damage" not in restored.log()
        async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:
            # Dedup made its memory again: what came before the restore is known.
            known = {"type": "track", "event": "E", "userId": "u", "messageId": before[1]}
            async with client.post(f"{restored.url}/v1/track", json=known) as answer:
                assert answer.status == 200
        await restored.wait_for("discarded", lambda found: found[-1]["code"] == "duplicate")


async def test_an_unfinished_backup_is_refused_by_the_daemon(tmp_path: Path) -> None:
    (tmp_path / "UNFINISHED-BACKUP").write_text("")
    command = [sys.executable, "-m", "cdpd", "run", "--data-dir", str(tmp_path), "--listen", "127.0.0.1:0"]
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(command, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "is a backup that was not finished: run `cdpd backup` to it again" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
