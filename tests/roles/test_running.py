"""A daemon in several processes: each may end, hang or be killed, and the daemon goes on; with their parent all end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import pytest

from cdpd.control.client import ControlClient
from tests.running import PATIENCE, RunningDaemon, key_header, roles, running

KEY = "wk_roles_website"
CONFIG = f"""
[sources.website]
write_keys = ["{KEY}"]

[destinations.copy]
type = "file"
path = "copy.ndjson"
"""
THREE = [["ingest"], ["process"], ["deliver"]]
TWO = [["ingest"], ["process", "deliver"]]


async def post(daemon: RunningDaemon, *names: str) -> None:
    """Events with these messageIds, each in a request of its own, all of them taken."""
    async with aiohttp.ClientSession(headers=key_header(KEY)) as http:
        for name in names:
            body = json.dumps({"event": "A", "userId": "u1", "messageId": name})
            async with http.post(f"{daemon.url}/v1/track", data=body) as answer:
                assert answer.status == 200, await answer.text()


async def status(daemon: RunningDaemon) -> dict[str, Any]:
    return await anyio.to_thread.run_sync(ControlClient(daemon.data / "control.sock").status)


async def pid_of(daemon: RunningDaemon, name: str) -> int:
    return int((await status(daemon))["processes"][name]["pid"])


async def until(daemon: RunningDaemon, name: str, starts: int) -> dict[str, Any]:
    """The status once a process runs for the so-and-so-manieth time."""
    with anyio.fail_after(PATIENCE):
        while True:
            found = await status(daemon)
            process = found["processes"][name]
            if (process["state"], process["starts"]) == ("running", starts) and found["state"] == "running":
                return found
            await asyncio.sleep(0.02)


async def delivered(daemon: RunningDaemon, *names: str) -> None:
    """Return once exactly these are in the destination's file, each once, in this order."""
    path = daemon.folder / "copy.ndjson"
    with anyio.move_on_after(PATIENCE):
        while True:
            text = path.read_text() if path.exists() else ""
            found = [
                json.loads(line)["messageId"]
                for line in text.splitlines(keepends=True)
                if line.endswith("\n")
            ]
            if found == list(names):
                return
            assert len(found) <= len(names), found
            await asyncio.sleep(0.02)
    raise AssertionError(f"delivered {found}, not {names}; the daemon's log:\n{daemon.log()}")


def runs(pid: int) -> bool:
    """Whether it does anything: what has ended may still stand in the table of processes."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# -- ends and starts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [TWO, THREE], ids=["two", "three"])
async def test_status_tells_of_every_process_as_of_one_daemon(
    tmp_path: Path, groups: list[list[str]]
) -> None:
    async with running(tmp_path, CONFIG + roles(groups)) as daemon:
        await post(daemon, "a", "b")
        await delivered(daemon, "a", "b")
        told = await status(daemon)
        assert told["state"] == "running"
        assert told["pid"] == daemon.pid
        assert told["listen"] == [daemon.url]
        assert list(told["processes"]) == ["+".join(group) for group in groups]
        assert {stream: one["end"] for stream, one in told["streams"].items()} == {
            "received": 2,
            "events": 2,
            "discarded": 0,
        }
        assert told["pipeline"]["behind"] == 0
        assert told["destinations"]["copy"]["delivered"] == 2
        assert told["counters"]["cdpd_received_events_total"] == {"website": 2}
        assert told["counters"]["cdpd_delivered_events_total"] == {"copy": 2}
        assert daemon.output.count("cdpd listens on") == 1
        assert await daemon.stop() == 0
        assert not list(daemon.data.glob("*.sock"))


@pytest.mark.parametrize("name", ["ingest", "process", "deliver"])
async def test_a_process_that_is_killed_is_started_again_and_nothing_is_lost_or_doubled(
    tmp_path: Path, name: str
) -> None:
    async with running(tmp_path, CONFIG + roles(THREE)) as daemon:
        await post(daemon, "a")
        await delivered(daemon, "a")
        others = {
            other: await pid_of(daemon, other) for other in ("ingest", "process", "deliver") if other != name
        }
        os.kill(await pid_of(daemon, name), signal.SIGKILL)
        # Without ingest requests wait in the socket's queue; without the others they are answered as ever.
        await post(daemon, "b", "c")
        await until(daemon, name, starts=2)
        await post(daemon, "d")
        await delivered(daemon, "a", "b", "c", "d")
        assert {other: await pid_of(daemon, other) for other in others} == others
        assert await daemon.stop() == 0
        told = [json.loads(line) for line in daemon.log().splitlines() if "started again" in line]
        assert [(line["process"], line["reason"]) for line in told] == [(name, "SIGKILL ended it")]


async def test_a_stop_that_all_processes_hear_at_once_is_a_stop(tmp_path: Path) -> None:
    async with running(tmp_path, CONFIG + roles(THREE)) as daemon:
        await post(daemon, "a")
        await delivered(daemon, "a")
        pids = [process["pid"] for process in (await status(daemon))["processes"].values()]
        for pid in (daemon.pid, *pids):  # as systemd does with KillMode=control-group
            os.kill(pid, signal.SIGTERM)
        assert await daemon.stop() == 0
        assert "started again" not in daemon.log()
        assert not [pid for pid in pids if runs(pid)]


async def test_ctrl_c_is_for_their_parent_alone(tmp_path: Path) -> None:
    async with running(tmp_path, CONFIG + roles(THREE)) as daemon:
        pids = [process["pid"] for process in (await status(daemon))["processes"].values()]
        assert os.getpgid(daemon.pid) not in {os.getpgid(pid) for pid in pids}
        for pid in pids:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGHUP)
        await post(daemon, "a")
        await delivered(daemon, "a")
        assert [process["pid"] for process in (await status(daemon))["processes"].values()] == pids


async def test_with_their_parent_all_processes_end_and_a_new_daemon_can_start_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, CONFIG + roles(THREE)) as daemon:
        await post(daemon, "a")
        await delivered(daemon, "a")
        pids = [process["pid"] for process in (await status(daemon))["processes"].values()]
        await daemon.kill()
        await daemon.start()
        assert not [pid for pid in pids if runs(pid)]
        await post(daemon, "b")
        await delivered(daemon, "a", "b")


async def test_what_keeps_a_process_from_starting_ends_the_daemon_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "data" / "plugins").mkdir(parents=True)
    (tmp_path / "data" / "plugins" / "dedup").write_text("in the way of the hook's own folder")
    config = tmp_path / "cdpd.toml"
    config.write_text(CONFIG + roles(THREE))
    config.chmod(0o600)
    command = RunningDaemon.command
    async with anyio.create_task_group() as tasks:
        daemon = RunningDaemon(tmp_path, CONFIG + roles(THREE), tasks, "127.0.0.1:0", sys.executable)
        with anyio.fail_after(PATIENCE):
            done = await anyio.run_process(command(daemon, "run", "--listen", "127.0.0.1:0"), check=False)
    said = done.stderr.decode()
    assert done.returncode == 1
    assert "cdpd: the process \"process\" did not start: hook 'dedup' did not start: " in said
    assert "Traceback" not in said
    assert not list((tmp_path / "data").glob("*.sock"))


async def test_a_process_that_is_started_again_runs_the_configuration_that_runs_not_the_files(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, CONFIG + roles(THREE)) as daemon:
        daemon.config.write_text("[wrong]\n")
        for name in ("ingest", "process", "deliver"):
            os.kill(await pid_of(daemon, name), signal.SIGKILL)
            await until(daemon, name, starts=2)
        await post(daemon, "a")
        await delivered(daemon, "a")
        daemon.config.write_text(CONFIG.replace(KEY, "wk_roles_another") + roles(THREE))
        done = await anyio.run_process(daemon.command("reload"), check=False)
        assert done.returncode == 0, done.stderr
        os.kill(await pid_of(daemon, "ingest"), signal.SIGKILL)
        await until(daemon, "ingest", starts=3)
        async with (
            aiohttp.ClientSession(headers=key_header("wk_roles_another")) as http,
            http.post(f"{daemon.url}/v1/track", data='{"event": "A", "userId": "u1"}') as answer,
        ):
            assert answer.status == 200


# -- reloads -------------------------------------------------------------------------------------------------


async def test_a_reload_that_one_process_refuses_changes_nothing_in_the_others(tmp_path: Path) -> None:
    config = CONFIG + roles(THREE)
    async with running(tmp_path, config) as daemon:
        daemon.config.write_text(
            config.replace(KEY, "wk_roles_another")
            + '[pipeline]\nhooks = ["spec", "drop"]\n[hooks.drop]\nrules = [{ event = "A" }]\n'
            '[destinations.new]\ntype = "null"\n'
        )
        with sqlite3.connect(daemon.data / "state.db", isolation_level=None) as blocking:
            blocking.execute("begin immediate")  # so the new destination's cursor cannot be stored
            done = await anyio.run_process(daemon.command("reload"), check=False)
            blocking.execute("rollback")
        blocking.close()
        assert done.returncode == 2
        assert "state.db cannot be written" in done.stderr.decode()
        await post(daemon, "a")
        await delivered(daemon, "a")
        assert set((await status(daemon))["destinations"]) == {"copy"}
        done = await anyio.run_process(daemon.command("reload", "--json"), check=False)
        assert json.loads(done.stdout)["changed"] == ["pipeline", "sources", "hooks", "destinations"]
        assert set((await status(daemon))["destinations"]) == {"copy", "new"}


@pytest.mark.parametrize("name", ["ingest", "process", "deliver"])
async def test_a_process_that_is_just_starting_runs_what_a_reload_brings_meanwhile(
    tmp_path: Path, name: str
) -> None:
    config = CONFIG + roles(THREE)
    async with running(tmp_path, config) as daemon:
        for number in range(2):
            starts = (await status(daemon))["processes"][name]["starts"]
            os.kill(await pid_of(daemon, name), signal.SIGKILL)
            with anyio.fail_after(PATIENCE):
                while (await status(daemon))["processes"][name]["starts"] == starts:  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.01)
            daemon.config.write_text(
                config.replace(KEY, f"wk_roles_{number}") + f'[destinations.new{number}]\ntype = "null"\n'
            )
            with anyio.fail_after(PATIENCE):
                done = await anyio.run_process(daemon.command("reload"), check=False)
            assert done.returncode == 0, done.stderr
            told = await until(daemon, name, starts + 1)
            assert set(told["destinations"]) == {"copy", f"new{number}"}
            async with (
                aiohttp.ClientSession(headers=key_header(f"wk_roles_{number}")) as http,
                http.post(f"{daemon.url}/v1/track", data='{"event": "A", "userId": "u1"}') as answer,
            ):
                assert answer.status == 200


async def test_what_a_reload_cannot_change_is_told_once_for_all_processes(tmp_path: Path) -> None:
    config = CONFIG + roles(THREE)
    async with running(tmp_path, config) as daemon:
        daemon.config.write_text(
            CONFIG + roles(TWO) + '[http]\nlisten = "127.0.0.1:9"\n[metrics]\nlisten = ":9"\n'
        )
        done = await anyio.run_process(daemon.command("reload", "--json"), check=False)
        answer = json.loads(done.stdout)
        assert answer["changed"] == ["http", "metrics", "process"]
        assert answer["needs_restart"] == ["metrics.listen", "process.roles"], (
            "--listen wins over http.listen"
        )


# -- the service manager -------------------------------------------------------------------------------------


class Manager:
    """What a service manager hears."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.heard: list[str] = []

    async def until(self, wanted: str) -> None:
        """Return once it has heard `wanted` again."""
        with anyio.fail_after(PATIENCE):
            while True:
                lines = (await asyncio.get_running_loop().sock_recv(self._sock, 65536)).decode().split("\n")
                self.heard += lines
                if wanted in lines:
                    return


@asynccontextmanager
async def managed(folder: Path, watchdog: float) -> AsyncIterator[tuple[RunningDaemon, Manager]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(folder / "notify"))
        sock.setblocking(False)
        async with running(folder, CONFIG + roles(THREE)) as daemon:
            await daemon.stop()
            daemon.environ = {
                "NOTIFY_SOCKET": str(folder / "notify"),
                "WATCHDOG_USEC": str(round(watchdog * 1e6)),
            }
            await daemon.start()
            yield daemon, Manager(sock)


async def test_the_manager_hears_that_all_are_ready_and_how_they_are_in_one_line(tmp_path: Path) -> None:
    async with managed(tmp_path, watchdog=60) as (daemon, manager):
        await manager.until("READY=1")
        assert "WATCHDOG=1" not in manager.heard
        assert f"STATUS=on {daemon.url}; all events processed; 1 destination" in manager.heard
        await manager.until("WATCHDOG=1")


async def test_a_process_that_hangs_is_ended_and_started_again(tmp_path: Path) -> None:
    async with managed(tmp_path, watchdog=3) as (daemon, manager):
        await manager.until("WATCHDOG=1")
        os.kill(await pid_of(daemon, "process"), signal.SIGSTOP)
        await post(daemon, "a")
        await until(daemon, "process", starts=2)
        await delivered(daemon, "a")
        await manager.until("WATCHDOG=1")
        assert "it hung, and was ended" in daemon.log()


# -- metrics and control -------------------------------------------------------------------------------------


async def test_metrics_of_all_processes_are_on_one_page_at_both_places(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    config = CONFIG + roles(THREE) + f'[metrics]\nlisten = "unix:{path}"\ntoken = "roles-metrics-token"\n'
    async with running(tmp_path, config) as daemon:
        await post(daemon, "a")
        await delivered(daemon, "a")
        headers = {"Authorization": "Bearer roles-metrics-token"}
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as apart,
            apart.get("http://localhost/metrics", headers=headers) as answer,
        ):
            one = await answer.text()
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{daemon.url}/metrics", headers=headers) as answer,
        ):
            other = await answer.text()
        async with aiohttp.ClientSession() as http, http.get(f"{daemon.url}/metrics") as answer:
            assert answer.status == 401
        for text in (one, other):
            for sample in (
                "cdpd_ready 1.0",
                'cdpd_received_events_total{source="website"} 1.0',
                'cdpd_accepted_events_total{source="website"} 1.0',
                'cdpd_delivered_events_total{destination="copy"} 1.0',
                'cdpd_log_end_offset{stream="received"} 1.0',
                'cdpd_log_end_offset{stream="events"} 1.0',
                'cdpd_pipeline_state{state="running"} 1.0',
                "cdpd_config_last_reload_successful 1.0",
                'cdpd_process_up{process="ingest"} 1.0',
                'cdpd_process_starts_total{process="deliver"} 1.0',
            ):
                assert f"\n{sample}\n" in text
            memory = re.search(r'\ncdpd_process_resident_memory_bytes{process="process"} (\S+)\n', text)
            assert memory
            assert float(memory[1]) > 10_000_000


async def test_commands_reach_the_process_that_can_answer(tmp_path: Path) -> None:
    async with running(tmp_path, CONFIG + roles(THREE)) as daemon:
        await post(daemon, "a")
        keys = await anyio.run_process(daemon.command("sources", "keys", "--json"), check=False)
        assert json.loads(keys.stdout)[0]["requests"] == 1
        archive = tmp_path / "old.ndjson"
        archive.write_text('{"type": "track", "event": "Old", "userId": "u9", "messageId": "old"}\n')
        done = await anyio.run_process(
            daemon.command("import", str(archive), "--source", "website"), check=False
        )
        assert done.returncode == 0, done.stderr
        events = await daemon.wait_for("events", 2)
        assert [event["messageId"] for event in events] == ["a", "old"]
