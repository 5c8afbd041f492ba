"""The floor of free disk: loud once, with hysteresis, by itself; and with a real disk that is really small."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import anyio
import anyio.lowlevel
import pytest

from cdpd.config.model import LoggingConfig
from cdpd.disk import EVERY, DiskFloor, Space
from cdpd.logs import Threshold, make_log
from tests.clock import FakeClock
from tests.running import key_header, running
from tests.services import need
from tests.until import until

TOTAL = 1000 << 20


class Rig:
    """A floor over a disk of 1000 MiB that says what the test wants."""

    def __init__(self, min_free: str = "100MiB") -> None:
        self.clock = FakeClock()
        self.said = io.StringIO()
        self.told: list[str | None] = []
        self.free: int | OSError = 500 << 20
        self.looks = 0
        self.floor = DiskFloor(
            Path("/data"),
            lambda: min_free,
            tell=self.told.append,
            clock=self.clock,
            log=make_log(LoggingConfig(format="json"), self.said, Threshold("info")),
            look=self.look,
        )

    def look(self, folder: Path) -> Space:
        assert folder == Path("/data")
        self.looks += 1
        if isinstance(self.free, OSError):
            raise self.free
        return Space(self.free, TOTAL)

    def see(self, mib: int) -> bool:
        """Whether events are taken with so much free."""
        self.floor.see(Space(mib << 20, TOTAL))
        return self.floor.reason is None

    @property
    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.said.getvalue().splitlines()]


def test_below_the_floor_events_are_refused_until_there_is_a_quarter_more() -> None:
    rig = Rig()
    assert [rig.see(mib) for mib in (500, 101, 100, 99, 100, 110, 124, 125, 101)] == [
        *(True, True, True),
        *(False, False, False, False),
        *(True, True),
    ]
    closed, opened = rig.told
    assert closed == (
        "the disk of /data is nearly full: 99 MiB free, and 100 MiB are kept free ([log] min_free)"
    )
    assert opened is None


def test_it_is_told_once_each_way_with_what_to_do() -> None:
    rig = Rig()
    for mib in (90, 80, 70, 300, 400):
        rig.see(mib)
    assert [(line["level"], str(line["event"])[:30]) for line in rig.log] == [
        ("error", "the disk is nearly full: new e"),
        ("warning", "there is room on the disk agai"),
    ]
    assert (rig.log[0]["free_bytes"], rig.log[0]["floor_bytes"]) == (90 << 20, 100 << 20)
    assert "keep less" in str(rig.log[0]["event"])


def test_a_part_of_the_disk_and_no_floor_at_all() -> None:
    rig = Rig("5%")
    assert rig.see(50)
    assert not rig.see(49)
    rig = Rig("0")
    assert rig.see(0)


def test_there_is_room_for_a_copy_only_above_the_floor() -> None:
    rig = Rig()
    assert rig.floor.has_room(1 << 40), "nothing is known yet"
    rig.see(164)
    assert rig.floor.has_room(63 << 20)
    assert not rig.floor.has_room(64 << 20)


def test_status_says_how_it_is() -> None:
    rig = Rig()
    assert rig.floor.status() == {"state": "ok", "free_bytes": None, "floor_bytes": 100 << 20}
    rig.see(50)
    assert rig.floor.status() == {"state": "full", "free_bytes": 50 << 20, "floor_bytes": 100 << 20}


async def test_it_looks_once_a_second_and_a_disk_that_cannot_be_asked_is_told_once() -> None:
    rig = Rig()

    async def a_look_is_over() -> None:
        while not rig.clock.sleepers:
            await anyio.lowlevel.checkpoint()

    async def rounds(count: int) -> None:
        for _ in range(count):
            await rig.clock.advance(EVERY)
            await a_look_is_over()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.floor.run)
        await a_look_is_over()
        await rounds(3)
        assert rig.looks == 4
        rig.free = 10 << 20
        await rounds(2)
        assert len(rig.told) == 1
        rig.free = OSError(5, "Input/output error")
        await rounds(3)
        assert rig.floor.reason is not None, "it stays as it was"
        rig.free = 400 << 20
        await rounds(2)
        assert rig.told[-1] is None
        tasks.cancel_scope.cancel()
    assert [line["event"] for line in rig.log].count("how much of the disk is free cannot be told") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """40 MiB of a disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = None
    if os.geteuid() == 0:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=40m,mode=0700", "cdpd-test", str(folder)],
            capture_output=True, text=True,
        )  # fmt: skip
    need(done is not None and done.returncode == 0, "the right to mount a tmpfs (run as root)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


CONFIG = """
[log]
min_free = "20MiB"
[sources.website]
write_keys = ["wk_1"]
[destinations.out]
type = "file"
path = "{}"
"""


async def test_a_daemon_on_a_disk_that_fills_up_refuses_goes_on_delivering_and_recovers(
    small_disk: Path, tmp_path: Path
) -> None:
    async with running(small_disk, CONFIG.format(tmp_path / "out.ndjson")) as daemon:
        async with aiohttp.ClientSession(headers=key_header("wk_1")) as client:

            async def send(number: int, path: str = "/v1/track") -> tuple[int, dict[str, object]]:
                body = {"type": "track", "event": "E", "userId": "u", "messageId": f"m{number}"}
                async with client.post(daemon.url + path, json=body) as answer:
                    if answer.status == 503:
                        assert answer.headers["Retry-After"] == "30"
                    return answer.status, await answer.json()

            async def ready() -> tuple[int, str]:
                async with client.get(daemon.url + "/health/ready") as answer:
                    return answer.status, await answer.text()

            async def until_answered(status: int) -> None:
                number = 1000
                with anyio.fail_after(20):
                    while (await send(number))[0] != status:
                        number += 1
                        await asyncio.sleep(0.05)

            async def delivered(events: int) -> None:
                await until(lambda: (tmp_path / "out.ndjson").read_text().count("\n") == events)

            async def told() -> str:
                done = await anyio.run_process(daemon.command("status"), check=False)
                return done.stdout.decode()

            assert (await send(1))[0] == 200
            ballast = small_disk / "ballast"
            ballast.write_bytes(b"x" * (25 << 20))
            await until_answered(503)
            status, answer = await send(2)
            assert (status, answer["code"]) == (503, "disk_full")
            status, text = await ready()
            assert status == 503
            assert "nearly full" in text
            assert "nearly full, events are refused" in await told()
            events = len(daemon.lines("received"))
            await daemon.wait_for("events", events)
            await delivered(events)
            ballast.unlink()
            await until_answered(200)
            assert (await ready())[0] == 200
            assert "nearly full" not in await told()
        assert daemon.log().count("nearly full: new events are refused") == 1
        assert daemon.log().count("there is room on the disk again") == 1
