"""`cdpd destinations reset` with a running daemon, in one process and in several."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import anyio
import pytest

from tests.running import RunningDaemon, key_header, running
from tests.until import until

from .conftest import Cdpd

CONFIG = """
[sources.website]
write_keys = ["wk_1"]
[destinations.out]
type = "file"
path = "{}"
"""
ROLES = '[process]\nroles = [["ingest"], ["process", "deliver"]]\n'


async def cdpd(daemon: RunningDaemon, *arguments: str) -> tuple[int, str, str]:
    done = await anyio.run_process(daemon.command("destinations", *arguments), check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("roles", ["", ROLES], ids=["one process", "several"])
async def test_events_are_sent_again_from_where_it_is_told(tmp_path: Path, roles: str) -> None:
    out = tmp_path / "out.ndjson"

    async def delivered(count: int) -> list[str]:
        await until(lambda: len(_lines(out)) >= count)
        return _lines(out)

    async with running(tmp_path / "daemon", roles + CONFIG.format(out)) as daemon:
        async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:
            for i in range(4):
                body = {"type": "track", "event": "E", "userId": "u", "messageId": f"m{i}"}
                async with client.post(f"{daemon.url}/v1/track", json=body) as answer:
                    assert answer.status == 200
        await delivered(4)
        code, said, wrong = await cdpd(daemon, "reset", "out", "--from", "1", "--dry-run")
        assert (code, wrong) == (0, "")
        assert (
            "out would go on at offset 1 of events; it was at 4. It gets the 3 events in between again."
            in said
        )
        code, said, _ = await cdpd(daemon, "reset", "out", "--from", "2", "--json")
        assert json.loads(said) == {"destination": "out", "before": 4, "position": 2, "end": 4}
        assert await delivered(6) == ["m0", "m1", "m2", "m3", "m2", "m3"]
        code, said, _ = await cdpd(daemon, "reset", "out", "--from", "1h")
        assert "out goes on at offset 0 of events; it was at 4." in said
        assert len(await delivered(10)) == 10
        code, _, wrong = await cdpd(daemon, "reset", "oot", "--from", "now")
        assert (code, wrong) == (1, "cdpd: there is no destination 'oot'; did you mean \"out\"?\n")


def _lines(path: Path) -> list[str]:
    return [json.loads(line)["messageId"] for line in path.read_text().splitlines()] if path.exists() else []


def test_what_is_no_place_is_told_before_anybody_is_asked(cdpd: Cdpd, tmp_path: Path) -> None:
    ran = cdpd("destinations", "reset", "out", "--from", "soon", "--data-dir", tmp_path)
    assert ran.code == 2
    assert "'soon' is no place in a stream: write an offset" in ran.err
    assert cdpd("destinations", "reset", "out", "--from", "now", "--data-dir", tmp_path).code == 3
