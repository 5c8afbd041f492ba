"""`cdpd import` against a real daemon: archives of vendors, CSV, faults in the middle, dry runs."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from cdpd.bring.receiving import Receiving
from cdpd.config.model import Config, SourceConfig
from cdpd.control.contract import CannotDo
from cdpd.ingest.settings import IngestSettings
from cdpd.metrics import Metrics
from cdpd.timestamp import format_time
from tests.clock import FakeClock
from tests.running import PATIENCE, RunningDaemon, running
from tests.s3 import s3_client, s3_server

from .conftest import Cdpd, Ran, control_server, in_a_process

CONFIG = """
[sources.website]
write_keys = ["wk_import_website"]

[destinations.copy]
type = "file"
path = "{folder}/copy.ndjson"
"""
AT_MS = 1_709_280_000_000
DAY_MS = 86_400_000


def segment_event(number: int) -> dict[str, Any]:
    """As Segment archives it: all four times, its own keys around."""
    at = AT_MS + number * 1000
    return {
        "_metadata": {"bundled": ["Segment.io"], "unbundled": []},
        "anonymousId": f"a{number}",
        "channel": "client",
        "context": {"ip": "192.0.2.7", "library": {"name": "analytics.js", "version": "next-1.62.0"}},
        "event": "Order Completed",
        "integrations": {"All": True},
        "messageId": f"ajs-next-{number}",
        "originalTimestamp": format_time(at - 57),
        "projectId": "7pTq",
        "properties": {"total": 12.5, "n": number},
        "receivedAt": format_time(at + 2003),
        "sentAt": format_time(at + 1900),
        "timestamp": format_time(at + 46),
        "type": "track",
        "userId": f"u{number}",
        "version": 2,
    }


def ndjson(events: Iterable[object]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def segment_archive(folder: Path, count: int) -> Path:
    """Two days of it, under its usual names."""
    for day, numbers in enumerate((range(count // 2), range(count // 2, count))):
        path = folder / "segment-logs" / "7pTq" / str(AT_MS // DAY_MS * DAY_MS + day * DAY_MS) / f"{day}.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(ndjson(map(segment_event, numbers)), 1))
    (folder / "segment-logs" / "dummy-object.txt").write_text("test")
    return folder / "segment-logs"


def command(daemon: RunningDaemon, *arguments: object) -> list[str]:
    name, *rest = map(str, arguments)
    return daemon.command(name, *rest)


async def bring(daemon: RunningDaemon, *arguments: object, env: dict[str, str] | None = None) -> Ran:
    """Run `cdpd import ARGUMENTS --source website` to its end."""
    with anyio.fail_after(PATIENCE * 2):
        done = await anyio.run_process(
            command(daemon, "import", *arguments, "--source", "website"),
            check=False,
            env={**os.environ, **(env or {})},
        )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def ids(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["messageId"] for event in events]


async def test_segments_archive_keeps_its_times_and_ids_and_is_delivered_to_nobody(tmp_path: Path) -> None:
    archive = segment_archive(tmp_path, 40)
    async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
        ran = await bring(daemon, archive)
        assert (ran.code, ran.err) == (0, "")
        assert ran.lines[0] == "imported 40 events into website from 2 files"
        events = await daemon.wait_for("events", 40)
        for number, event in enumerate(events):
            expected = segment_event(number) | {"projectId": "website", "integrations": {"All": False}}
            assert event == expected
        assert {line["via"]["path"] for line in daemon.lines("received")} == {"import"}
        again = await bring(daemon, archive, "--json")
        assert (again.json["events"], again.json["files_done_before"]) == (0, 2)
        assert await daemon.stop() == 0
    assert not (tmp_path / "copy.ndjson").exists()


async def test_rudderstacks_archives_become_what_rudderstack_made_of_them(tmp_path: Path) -> None:
    stored = {
        "type": "identify",
        "messageId": "r1",
        "userId": "u1",
        "rudderId": "x",
        "traits": {"plan": "pro"},
        "originalTimestamp": "2024-03-01T10:00:00.000Z",
        "sentAt": "2024-03-01T10:00:10.000Z",
        "request_ip": "192.0.2.7",
    }
    delivered = stored | {
        "timestamp": "2024-03-01T09:00:00.000Z",
        "receivedAt": "2024-03-01T16:00:20.000+05:30",
    }
    archived = {
        "userId": "x",
        "payload": stored | {"messageId": "r2", "receivedAt": "2024-03-01T10:00:20.000Z"},
        "createdAt": "2024-03-01T10:00:21.000Z",
        "messageId": "r2",
    }
    for name, line in {
        "rudder-logs/src/03-01-2024/a.json.gz": delivered,
        "src/gw/2024-03-01/10/b.json.gz": archived,
    }.items():
        path = tmp_path / "rudder" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(ndjson([line])))
    async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
        assert (await bring(daemon, tmp_path / "rudder")).code == 0
        first, second = await daemon.wait_for("events", 2)
    assert (first["messageId"], first["timestamp"]) == ("r1", "2024-03-01T09:00:00.000Z")
    assert (first["originalTimestamp"], first["receivedAt"]) == (
        "2024-03-01T10:00:00.000Z",
        "2024-03-01T10:30:20.000Z",
    )
    assert (second["messageId"], second["timestamp"]) == ("r2", "2024-03-01T10:00:10.000Z")
    assert "request_ip" not in first


async def test_the_archive_of_another_cdpd_can_be_imported(tmp_path: Path) -> None:
    archive = segment_archive(tmp_path, 10)
    config = CONFIG.format(folder=tmp_path)
    async with running(tmp_path / "old", config) as old:
        await bring(old, archive)
        before = await old.wait_for("events", 10)
    async with running(tmp_path / "new", config) as new:
        assert (await bring(new, old.data / "log" / "events")).code == 0
        assert await new.wait_for("events", 10) == before


async def test_destinations_that_are_named_get_the_events(tmp_path: Path) -> None:
    archive = segment_archive(tmp_path, 6)
    async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
        wrong = await bring(daemon, archive, "--deliver", "cpoy")
        assert (wrong.code, wrong.err) == (
            2,
            "cdpd: --deliver: there is no destination 'cpoy'; did you mean \"copy\"?\n",
        )
        ran = await bring(daemon, archive, "--deliver", "copy")
        assert "to copy only" in ran.out
        await daemon.wait_for("events", 6)
        assert await daemon.stop() == 0
    copied = [json.loads(line) for line in (tmp_path / "copy.ndjson").read_bytes().splitlines()]
    assert sorted(ids(copied)) == sorted(f"ajs-next-{i}" for i in range(6))
    assert copied[0]["integrations"] == {"All": False, "File": True}


async def started(daemon: RunningDaemon, *arguments: object) -> anyio.abc.Process:
    return await anyio.open_process(command(daemon, "import", *arguments, "--source", "website"))


async def test_an_import_that_is_killed_goes_on_and_each_event_is_there_once(tmp_path: Path) -> None:
    archive = segment_archive(tmp_path, 12_000)
    async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
        for enough in (500, 4000, 8000):
            async with await started(daemon, archive) as process:
                await daemon.wait_for("received", enough)
                process.kill()
                await process.wait()
        ran = await bring(daemon, archive)
        assert ran.code == 0
        events = await daemon.wait_for("events", 12_000)
        assert sorted(ids(events)) == sorted(f"ajs-next-{i}" for i in range(12_000))
        assert len(daemon.lines("received")) <= 12_000 + 3 * 500
        assert all(
            event["timestamp"] == segment_event(event["properties"]["n"])["timestamp"] for event in events
        )


async def test_a_daemon_that_is_killed_and_comes_back_loses_and_doubles_nothing(tmp_path: Path) -> None:
    archive = segment_archive(tmp_path, 6_000)
    async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
        async with await started(daemon, archive) as process:
            await daemon.wait_for("received", 1000)
            await daemon.kill()
            await daemon.start()
            with anyio.fail_after(PATIENCE):
                assert await process.wait() == 0
        events = await daemon.wait_for("events", 6_000)
        assert sorted(ids(events)) == sorted(f"ajs-next-{i}" for i in range(6_000))


async def test_ctrl_c_ends_it_between_two_batches_and_says_how_to_go_on(tmp_path: Path) -> None:
    archive = segment_archive(tmp_path, 12_000)
    async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
        async with await started(daemon, archive, "--json") as process:
            await daemon.wait_for("received", 500)
            process.send_signal(signal.SIGINT)
            with anyio.fail_after(PATIENCE):
                assert await process.wait() == 130
            assert process.stdout is not None
            said = json.loads(await process.stdout.receive())
        assert said["ended_early"] == "stopped; run the same command again to go on"
        taken = said["events"]
        assert 500 <= taken < 12_000
        assert len(daemon.lines("received")) == taken
        ran = await bring(daemon, archive, "--json")
        assert ran.json["events"] == 12_000 - taken


async def test_what_is_no_event_is_told_with_its_place_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    large = segment_event(2) | {"properties": {"a": "x" * 2_000_000}}
    deep = b'{"type":"track","a":' + b"[" * 2000 + b"]" * 2000 + b"}\n"
    content = ndjson([segment_event(0)]) + b"{oops\n" + b"[1]\n" + deep + ndjson([large, segment_event(1)])
    (tmp_path / "archive" / "a.json").write_bytes(content)
    cut = gzip.compress(ndjson(map(segment_event, range(10, 3000))))
    (tmp_path / "archive" / "b.gz").write_bytes(cut[:-1000])
    async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
        ran = await bring(daemon, tmp_path / "archive")
        assert ran.code == 1
        bad, broken = ran.err.splitlines()
        assert bad.startswith(f"cdpd: {tmp_path}/archive/a.json:2: not JSON")
        assert broken == f"cdpd: {tmp_path}/archive/b.gz: the gzip data ends too early: the file is not whole"
        assert re.search(r"no events +1 line\n", ran.out)
        assert re.search(r"turned away +3 for their size or form: cdpd discarded ls --by ingest\n", ran.out)
        discarded = await daemon.wait_for("discarded", 3)
        assert [line["code"] for line in discarded] == ["event_not_object", "too_deep", "event_too_large"]
        (tmp_path / "archive" / "b.gz").write_bytes(cut)
        assert (await bring(daemon, tmp_path / "archive")).code == 0
        events = await daemon.wait_for("events", 2992)
        assert len(set(ids(events))) == len(events) == 2992


async def test_csv_becomes_events_of_the_types_that_were_said(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(
        "order;customer;total;paid;when\n1;c1;10.50;yes;2024-03-01 10:00:00\n2;c2;;no;1709287201\n3;c3;x;no;\n"
    )
    options = [
        *("--set", "type=track", "--set", "event=Order Completed", "--column", "userId=customer"),
        *("--column", "properties.total:number=total", "--column", "properties.paid:boolean=paid"),
        *("--column", "timestamp=when"),
    ]
    async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
        ran = await bring(daemon, tmp_path / "orders.csv", *options)
        assert ran.code == 1
        assert ran.err == f"cdpd: {tmp_path}/orders.csv:4: column total: 'x' is no number\n"
        first, second = await daemon.wait_for("events", 2)
        assert first["properties"] == {"total": 10.5, "paid": True}
        assert first["timestamp"] == first["originalTimestamp"] == "2024-03-01T10:00:00.000Z"
        assert second["properties"] == {"paid": False}
        assert second["timestamp"] == "2024-03-01T10:00:01.000Z"
        (tmp_path / "copy.csv").write_bytes((tmp_path / "orders.csv").read_bytes())
        await bring(daemon, tmp_path / "copy.csv", *options)
        discarded = await daemon.wait_for("discarded", 2)
        assert {line["code"] for line in discarded} == {"duplicate"}


async def test_a_bucket_is_imported_as_a_folder_is(tmp_path: Path) -> None:
    archive = segment_archive(tmp_path, 20)
    with s3_server() as environment:
        store = s3_client(environment)
        store.create_bucket(Bucket="archive")
        for path in archive.rglob("*.*"):
            key = f"company/{path.relative_to(tmp_path)}"
            store.put_object(Bucket="archive", Key=key, Body=path.read_bytes())
        async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
            ran = await bring(daemon, "s3://archive/company/segment-logs", env=environment)
            assert (ran.code, ran.err) == (0, "")
            assert ids(await daemon.wait_for("events", 20)) == [f"ajs-next-{i}" for i in range(20)]
            again = await bring(daemon, "s3://archive/company/segment-logs", "--json", env=environment)
            assert again.json["files_done_before"] == 2


async def test_a_dry_run_sends_nothing_and_says_what_would_happen(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(ndjson([segment_event(0), segment_event(1) | {"type": "record"}]))
    async with running(tmp_path / "d", CONFIG.format(folder=tmp_path)) as daemon:
        ran = await bring(daemon, tmp_path / "a.json", "--dry-run")
        assert ran.code == 0
        assert ran.lines[0] == "would import 2 events into website from 1 file"
        assert "  track   Order Completed       1" in ran.lines
        assert (
            "  unknown_type  1  'record' is none of identify, track, page, screen, group, alias" in ran.lines
        )
        example = ran.out[ran.out.index("{") : ran.out.rindex("}") + 1]
        expected = segment_event(0) | {"projectId": "website", "integrations": {"All": False}}
        assert json.loads(example) == expected
        assert ran.lines[-1] == "nothing was sent: this was a dry run"
        assert daemon.lines("received") == []
        assert not (daemon.data / "imports").exists()


def test_a_dry_run_needs_no_daemon(cdpd: Cdpd, tmp_path: Path) -> None:
    (tmp_path / "cdpd.toml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "a.json").write_bytes(ndjson([segment_event(0)]))
    at = ("--config", tmp_path / "cdpd.toml", "--data-dir", tmp_path / "data")
    ran = cdpd("import", tmp_path / "a.json", "--source", "website", "--dry-run", *at)
    assert ran.code == 0
    assert "no daemon is running" in ran.err
    ran = cdpd("import", tmp_path / "a.json", "--source", "website", *at)
    assert ran.code == 3
    assert "no daemon is running" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.json",), "say which source the events belong to: --source NAME; there is website"),
        (("a.json", "--source", "websit"), "no source 'websit' in the configuration; did you mean \"website\"?"),
        (("ftp://x/y", "--source", "website"), "ftp:// is not known; s3, gs, az and https are"),
        (("a.json", "--source", "website", "--from", "soon"), "--from: 'soon' is no time"),
        (("a.json", "--source", "website", "--format", "rudderstack"), "--format: there is no 'rudderstack'"),
        (("a.json", "--source", "website", "--received", "then"), "--received: there is no 'then'"),
        (("a.json", "--source", "website", "--column", "userId=x"), "what calls are the rows?"),
        (("a.json", "--source", "website", "--deliver", "x", "--deliver-all"), "not both"),
        (("s3://b", "--source", "website", "--store", "x"), "--store x: write KEY=VALUE"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_told(
    cdpd: Cdpd, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "cdpd.toml").write_text(CONFIG.format(folder=tmp_path))
    at = ("--config", tmp_path / "cdpd.toml", "--data-dir", tmp_path / "data")
    ran = cdpd("import", *arguments, "--dry-run", *at)
    assert ran.code == 2
    assert message in ran.err


def test_nothing_to_import_is_told(cdpd: Cdpd, tmp_path: Path) -> None:
    (tmp_path / "cdpd.toml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "here" / "notes.txt").write_text("x")
    at = ("--config", tmp_path / "cdpd.toml", "--data-dir", tmp_path / "data")
    ran = cdpd("import", ".", "--source", "website", "--dry-run", *at)
    assert (ran.code, ran.err.count("nothing to import in .: no file ends in .gz")) == (1, 1)
    assert "1 file with other names" in ran.err
    ran = cdpd("import", "nothing", "--source", "website", "--dry-run", *at)
    assert (ran.code, ran.err) == (1, "cdpd: cannot read nothing: no such file or directory\n")


def test_what_comes_through_a_pipe_is_imported(tmp_path: Path) -> None:
    (tmp_path / "cdpd.toml").write_text(CONFIG.format(folder=tmp_path))
    at = ("--config", tmp_path / "cdpd.toml", "--data-dir", tmp_path / "data")
    stdin = gzip.compress(ndjson([segment_event(0), segment_event(1)]))
    ran = in_a_process("import", "-", "--source", "website", "--dry-run", "--json", *at, stdin=stdin)
    assert ran.json["events"] == 2


@pytest.fixture
def taking(tmp_path: Path) -> Iterator[Path]:
    """The daemon's side of imports over a log that keeps nothing; its data folder."""

    class Nothing:
        pass

    config = Config(sources={"website": SourceConfig(write_keys=["wk_import_website"])})
    settings = IngestSettings.of(config, 1)

    async def append(_: object, __: int) -> None: ...

    receiving = Receiving(
        append=append,
        config=lambda: config,
        settings=lambda: settings,
        behind=lambda: 0,
        catalogue=Nothing(),  # type: ignore[arg-type]  # no destination is configured
        clock=FakeClock(),
        metrics=Metrics(),
    )
    data = tmp_path / "data"
    with control_server(data, Nothing(), receiving.calls()):
        yield data


def test_a_daemon_that_takes_no_more_ends_it_with_the_way_to_go_on(cdpd: Cdpd, tmp_path: Path) -> None:
    async def describe(_: bytes) -> dict[str, Any]:
        return {"sources": ["website"], "destinations": {}, "limits": {}}

    async def refuse(_: bytes) -> dict[str, Any]:
        raise CannotDo("there is no source 'website' in the daemon's configuration")

    (tmp_path / "a.json").write_bytes(ndjson([segment_event(0)]))
    with control_server(tmp_path / "data", None, {"GET /import": describe, "POST /import": refuse}):
        ran = cdpd("import", tmp_path / "a.json", "--source", "website", "--data-dir", tmp_path / "data")
    assert ran.code == 1
    assert ran.err == (
        "cdpd: there is no source 'website' in the daemon's configuration; run the same command again to go on\n"
    )
    assert ran.lines[0] == "imported 0 events into website from 1 file"


def largest_memory(data: Path, path: Path) -> int:
    """KiB that an import of `path` takes at most."""
    arguments = ["import", path, "--source", "website", "--data-dir", data]
    process = subprocess.Popen(
        [sys.executable, "-m", "cdpd", *map(str, arguments)], stdout=subprocess.DEVNULL, cwd=path.parent
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


def test_memory_does_not_grow_with_the_file(taking: Path, tmp_path: Path) -> None:
    small, large = tmp_path / "small.gz", tmp_path / "large.gz"
    small.write_bytes(gzip.compress(ndjson(map(segment_event, range(2_000)))))
    with gzip.open(large, "wb", compresslevel=1) as file:
        for start in range(0, 200_000, 10_000):
            file.write(ndjson(map(segment_event, range(start, start + 10_000))))
    assert largest_memory(taking, large) < largest_memory(taking, small) + 16 * 1024
