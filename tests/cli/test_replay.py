"""`cdpd replay` with a running daemon: begun, watched, interrupted, cancelled, killed; and what it prints."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from cdpd.cli.job_watch import summary
from cdpd.cli.replay_dry import text
from tests.running import PATIENCE, RunningDaemon, key_header, running
from tests.until import until

from .conftest import Cdpd

CONFIG = """
[sources.website]
write_keys = ["wk_1"]
[sources.shop]
write_keys = ["wk_2"]
[destinations.out]
type = "file"
path = "{}"
enabled = false
sources = ["website"]
"""
ROLES = '[process]\nroles = [["ingest"], ["process", "deliver"]]\n'


async def cdpd(daemon: RunningDaemon, *arguments: str) -> tuple[int, str, str]:
    done = await anyio.run_process(daemon.command("replay", *arguments), check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def send(daemon: RunningDaemon, count: int, key: str = "wk_1", event: str = "E") -> None:
    before = len(daemon.lines("events"))
    batch = [
        {"type": "track", "event": event, "messageId": f"{key}-{before + n}", "userId": f"u{n % 7}"}
        for n in range(count)
    ]
    async with (
        aiohttp.ClientSession(headers=key_header(key)) as client,
        client.post(f"{daemon.url}/v1/batch", json={"batch": batch}) as answer,
    ):
        assert answer.status == 200
    await daemon.wait_for("events", before + count)


def ids(path: Path) -> list[str]:
    return [json.loads(line)["messageId"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("roles", ["", ROLES], ids=["one process", "several"])
async def test_into_a_disabled_destination_from_looking_to_the_end(tmp_path: Path, roles: str) -> None:
    out = tmp_path / "out.ndjson"
    async with running(tmp_path / "daemon", roles + CONFIG.format(out)) as daemon:
        await send(daemon, 40)
        await send(daemon, 5, event="Order Completed")
        await send(daemon, 3, "wk_2")
        code, said, wrong = await cdpd(daemon, "--destination", "out", "--from", "1h", "--dry-run")
        assert (code, wrong) == (0, "")
        assert said == (
            "45 events would be sent to out, 3 left out; 48 lines of the archive looked at\n\n"
            "  events  source   type   name\n"
            "      40  website  track  E\n"
            "       5  website  track  Order Completed\n\n"
            "left out:\n"
            "  3  SOURCE_NOT_CONNECTED: their source is not in its `sources`\n\n"
            "nothing was sent: this was a dry run\n"
        )
        assert not out.exists()
        code, said, wrong = await cdpd(
            daemon, "--destination", "out", "--from", "beginning", "--event", "Order Completed"
        )
        assert (code, wrong) == (0, "")
        assert re.fullmatch(
            r"replay-1 is done: 48 lines of the archive to out, in \d\.\d s\n"
            r"  delivered    5\n"
            r"  not chosen  43  of another time, source, type or name, or deleted\n",
            said,
        )
        assert len(ids(out)) == 5
        code, said, _ = await cdpd(daemon, "--destination", "out", "--from", "0", "--to", "2", "--json")
        told = json.loads(said)
        assert (told["state"], told["delivered"], told["asked"]["to_offset"]) == ("done", 2, 2)
        code, said, _ = await cdpd(daemon, "ls")
        assert [line.split()[:4] for line in said.splitlines()[1:]] == [
            ["replay-1", "out", "done", "100"],
            ["replay-2", "out", "done", "100"],
        ]
        code, _, wrong = await cdpd(daemon, "--destination", "oot", "--from", "now")
        assert code == 1
        assert "there is no destination 'oot' in the configuration that runs; did you mean \"out\"?" in wrong
        code, _, wrong = await cdpd(daemon, "watch", "replay-7")
        assert (code, wrong) == (1, "cdpd: there is no job 'replay-7': `cdpd replay ls` shows them\n")


async def test_detached_killed_watched_cancelled_and_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    async with running(tmp_path / "daemon", CONFIG.format(out)) as daemon:
        await send(daemon, 400)
        code, said, _ = await cdpd(
            daemon, "--destination", "out", "--from", "beginning", "--rate", "100/s", "--detach"
        )
        assert code == 0
        assert said.startswith("replay-1 (running): 400 lines of the archive to out\n")
        assert said.endswith("Watch it: cdpd replay watch replay-1; end it: cdpd replay cancel replay-1\n")
        await until(lambda: len(ids(out)) > 20)
        await daemon.kill()
        assert len(set(ids(out))) < 400
        code, _, wrong = await cdpd(daemon, "ls")
        assert code == 3
        await daemon.start()
        code, said, wrong = await watch_and_interrupt(daemon, "replay-1")
        assert code == 130
        assert "replay-1 runs in the daemon. Watch it: cdpd replay watch replay-1" in wrong
        code, said, _ = await cdpd(daemon, "cancel", "replay-1")
        assert (code, said.splitlines()[0]) == (0, "replay-1 is cancelled: 400 lines of the archive to out")
        code, _, wrong = await cdpd(daemon, "cancel", "replay-1")
        assert (code, wrong) == (1, "cdpd: replay-1 has ended already: it is cancelled\n")
        assert len(set(ids(out))) < 400
        code, said, _ = await cdpd(daemon, "resume", "replay-1")
        assert code == 0
        code, said, _ = await cdpd(daemon, "watch", "replay-1")
        assert (code, said.splitlines()[1].split()) == (0, ["delivered", "400"])
        found = Counter(ids(out))
        assert len(found) == 400
        assert sum(found.values()) - 400 <= 100, "doubled is at most what was in flight when it was killed"


async def watch_and_interrupt(daemon: RunningDaemon, id: str) -> tuple[int, str, str]:
    """Ctrl-C once something is to be seen on the terminal."""
    ours, its = pty.openpty()
    try:
        seen = b""
        async with await anyio.open_process(daemon.command("replay", "watch", id), stderr=its) as process:
            with anyio.fail_after(PATIENCE):
                while b"of 400" not in seen:
                    seen += await anyio.to_thread.run_sync(os.read, ours, 65536)
                process.send_signal(signal.SIGINT)
                code = await process.wait()
                while b"end it" not in seen:
                    seen += await anyio.to_thread.run_sync(os.read, ours, 65536)
    finally:
        os.close(its)
        os.close(ours)
    return code, "", seen.decode()


async def test_a_daemon_that_stops_meanwhile_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    async with running(tmp_path / "daemon", CONFIG.format(out)) as daemon:
        await send(daemon, 400)
        command = daemon.command("replay", "--destination", "out", "--from", "0", "--rate", "50/s")
        async with await anyio.open_process(command) as process:
            await until(lambda: len(ids(out)) > 0)
            assert await daemon.stop() == 0
            with anyio.fail_after(PATIENCE):
                code = await process.wait()
            assert process.stderr is not None
            said = (await process.stderr.receive()).decode()
        assert code == 3
        assert "When it runs again, replay-1 goes on where it was: cdpd replay watch replay-1" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what is meant: --destination NAME is missing"),
        (("--destination", "d"), "say what is meant: --from PLACE (an offset (1234)"),
        (("--destination", "d", "--from", "soon"), "'soon' is no place in a stream"),
        (("--destination", "d", "--from", "1h", "--to", "never"), "'never' is no place in a stream"),
        (
            ("--destination", "d", "--from", "1h", "--type", "trak"),
            "there is no call 'trak'; did you mean \"track\"?",
        ),
        (("--destination", "d", "--from", "1h", "--rate", "fast"), "--rate: 'fast' is no rate"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_told_before_anybody_is_asked(
    cdpd: Cdpd, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = cdpd("replay", *arguments, "--data-dir", tmp_path)
    assert ran.code == 2
    assert said in ran.err


def job(**changes: Any) -> dict[str, Any]:
    return {
        "id": "replay-3",
        "destination": "crm",
        "kind": "replay",
        "state": "done",
        "problem": None,
        "total": 1000,
        "done": 1000,
        "delivered": 900,
        "skipped": 1,
        "filtered": {"SOURCE_NOT_CONNECTED": 2, "MINE": 50},
        "parked": 3,
        "retried": 4,
        "began": "2026-01-31T12:00:00.000Z",
        "changed": "2026-01-31T12:01:00.500Z",
        **changes,
    }


def test_a_summary_says_what_became_of_every_event() -> None:
    assert summary(job()) == (
        "replay-3 is done: 1,000 lines of the archive to crm, in 60.5 s\n"
        "  delivered    900\n"
        "  skipped        1  the destination has nothing to send for them\n"
        "  left out      50  MINE\n"
        "  left out       2  SOURCE_NOT_CONNECTED: their source is not in its `sources`\n"
        "  parked         3  refused: cdpd parked ls --destination crm\n"
        "  not chosen    44  of another time, source, type or name, or deleted\n"
        "  tried again    4  counted each time\n"
    )
    said = summary(job(kind="retry", state="failed", problem="it is gone", done=956, total=1000, retried=0))
    assert said.splitlines()[:2] == ["replay-3 has failed: 1,000 events parked at crm", "  it is gone"]
    assert said.splitlines()[-1].split() == ["not", "done", "44"]


def test_a_dry_run_shows_the_most_frequent_and_says_that_there_are_more() -> None:
    rows = [{"source": "s", "type": "track", "name": f"E{n}", "events": 100 - n} for n in range(50)]
    said = text({"destination": "crm", "total": 9000, "events": 3775, "sent": rows, "left_out": []})
    assert said.splitlines()[0] == "3,775 events would be sent to crm; 9,000 lines of the archive looked at"
    assert "… and 10 rows more: --json has all" in said
