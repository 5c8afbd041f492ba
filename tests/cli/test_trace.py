"""`cdpd trace` as somebody uses it: on a daemon that runs, on a folder that nobody runs, for ids that nobody has."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import anyio
import pytest

from cdpd.cli.trace_report import TraceReport
from tests.running import RunningDaemon, key_header, running
from tests.stored import AT_MS, discarded, received
from tests.trace.rig import CONFIG, Folder, attempt, parked
from tests.trace.test_story import archived, stored
from tests.until import until

from .conftest import Cdpd

DAEMON = """
[sources.website]
write_keys = ["wk_1"]
[destinations.out]
type = "file"
path = "{}"
[destinations.nobody]
type = "webhook"
url = "http://127.0.0.1:9/"
"""


async def traced(daemon: RunningDaemon, *arguments: str) -> tuple[int, str, str]:
    done = await anyio.run_process(daemon.command("trace", *arguments), check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_an_events_whole_way_is_told_while_the_daemon_runs(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    async with running(tmp_path / "daemon", DAEMON.format(out)) as daemon:
        async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:
            for name in ("track", "trak"):
                body = {"type": name, "event": "E", "userId": "u", "messageId": f"id/{name}"}
                async with client.post(f"{daemon.url}/v1/batch", json={"batch": [body, body]}) as answer:
                    assert answer.status == 200
        await until(lambda: out.exists() and out.read_text().count("\n") == 1)

        async def settled() -> list[dict[str, str]]:
            code, said, wrong = await traced(daemon, "id/track", "--json")
            assert (code, wrong) == (0, "")
            first, second = json.loads(said)["receipts"]
            assert (first["fate"], second["discarded"]["code"]) == ("archived", "duplicate")
            return [{"name": one["name"], "state": one["state"]} for one in first["destinations"]]

        expected = [{"name": "out", "state": "delivered"}, {"name": "nobody", "state": "retrying"}]
        with anyio.fail_after(30):
            while await settled() != expected:
                pass
        code, said, wrong = await traced(daemon, "id/track")
        assert (code, wrong) == (0, "")
        for words in (
            "came in 2 times",
            "POST /v1/batch from 127.0.0.1",
            "offset 0 of events",
            "try 1: delivered",
        ):
            assert words in said
        code, said, _ = await traced(daemon, "id/trak")
        assert "by spec: unknown_type" in said


def trace(cdpd: Cdpd, folder: Folder, *arguments: str) -> tuple[int, list[str], str]:
    ran = cdpd("trace", *arguments, "--config", folder.config, "--data-dir", folder.data_dir)
    return ran.code, ran.lines, ran.err


def test_a_timeline_reads_from_top_to_bottom(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    stored(folder)
    refused = attempt("1-2", "bad_event", status=422, reason="no property plan", attempt=2)
    folder.state("hook", 3, attempts=[attempt("0-3", "retry"), refused], parked=[parked(1, "m1")])
    code, lines, wrong = trace(cdpd, folder, "m1")
    assert (code, wrong) == (0, "")
    starts = [line[:13].strip() for line in lines if line[:1] in "●✗○◌"]
    assert starts == ["● received", "● hooks", "● archived", "✗ hook", "○ app_only"]
    text = "\n".join(lines)
    assert "m1  track “Signed Up”  website  u1" in lines[0]
    assert '+ "context": {' in text
    assert "2026-01-31 12:00:01.000  try 1: to be tried again · in 35 ms · with 2 others" in text
    assert "12:00:01.000  try 2: refused for good · 422 Unprocessable" in text
    assert "`cdpd parked retry 1` sends it again" in text


def test_tries_that_repeat_are_counted(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    stored(folder)
    tries = [attempt("1-2", "retry", attempt=n, at_ms=AT_MS + n * 3_600_000) for n in range(1, 31)]
    folder.state("hook", 0, attempts=tries)
    _, lines, _ = trace(cdpd, folder, "m1")
    (told,) = [line.strip() for line in lines if "the same" in line]
    assert told == "2026-02-01 18:00:00.000  29 tries more, up to number 30: the same"


def test_an_id_that_nobody_has_tells_where_was_looked(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    stored(folder)
    code, lines, wrong = trace(cdpd, folder, "m7")
    assert (code, lines) == (1, [])
    assert "no event has the messageId 'm7'" in wrong
    assert "received   3 lines, 2026-01-31 12:00:00 UTC, kept for 7d" in wrong
    assert "discarded  nothing is stored there" in wrong
    code, lines, wrong = trace(cdpd, folder, "m7", "--json")
    assert (code, wrong) == (1, "")
    assert json.loads(lines[0])["receipts"] == []
    code, _, wrong = trace(cdpd, folder, "m1", "--source", "app")
    assert "no event of source app has the messageId 'm1'" in wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at", "noon"], "'noon' is no time: write a time (2026-01-31T12:00:00Z) or an age (15m, 7d)"),
        (["--at", "1h", "--from", "1d"], "either --at, or --from and --to, not both"),
    ],
)
def test_a_wrong_command_line_is_told(cdpd: Cdpd, tmp_path: Path, arguments: list[str], said: str) -> None:
    folder = Folder(tmp_path)
    stored(folder)
    code, _, wrong = trace(cdpd, folder, "m1", *arguments)
    assert (code, wrong) == (2, f"cdpd: {said}\n")


def test_a_time_narrows_it(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    stored(folder)
    assert trace(cdpd, folder, "m1", "--at", "2026-01-31T12:30:00Z")[0] == 0
    assert trace(cdpd, folder, "m1", "--at", "2026-01-31T13:30:00Z")[0] == 1
    assert trace(cdpd, folder, "m1", "--from", "2026-01-31", "--to", "2026-01-31T12:00:00Z")[0] == 1


def test_a_configuration_that_is_wrong_leaves_the_rest_of_the_story(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    stored(folder)
    folder.config.write_text(CONFIG.replace("sources =", "source ="))
    code, lines, _ = trace(cdpd, folder, "m1")
    assert code == 0
    assert "● archived    offset 1 of events" in lines
    assert "the configuration is wrong, so hooks and destinations are left out" in lines[-1]


def test_a_folder_with_nothing_in_it_is_told(cdpd: Cdpd, tmp_path: Path) -> None:
    ran = cdpd("trace", "m1", "--data-dir", tmp_path / "empty")
    assert ran.code == 1
    assert "nothing is stored in" in ran.err


def test_what_strangers_sent_cannot_steer_the_terminal(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    evil = "\x1b[31mm\n1"
    line = received(1, messageId=evil, via={"userAgent": evil, "path": evil, "origin": evil, "ip": evil})
    folder.append("received", [line])
    folder.append("discarded", [discarded(0, message=evil, code=evil, by=evil, traceback=evil, line=line)])
    folder.append("events", [archived(1, messageId=evil, integrations={evil: False})], origins=[0], through=1)
    text = TraceReport(folder.story(evil), width=80).text()
    assert "\x1b" not in text
