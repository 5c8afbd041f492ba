"""The daemon as a process: start, reload, signals, stop, and what it says when it cannot start."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import pytest

from cdpd.control.client import ControlClient
from cdpd.control.contract import DiscardedFilter
from tests.running import RunningDaemon, key_header, roles, running

CONFIG = """
[sources.website]
write_keys = ["wk_daemon_website"]

[destinations.copy]
type = "file"
path = "{folder}/copy.ndjson"
"""


@pytest.fixture(params=[[], [["ingest"], ["process"], ["deliver"]]], ids=["one process", "a process a role"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A configuration that runs, in one process and in several: nothing of what is said here is different then."""
    return CONFIG.format(folder=tmp_path) + roles(request.param)


async def post(daemon: RunningDaemon, event: dict[str, Any], key: str = "wk_daemon_website") -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{daemon.url}/v1/track", data=json.dumps(event), headers=key_header(key)) as answer,
    ):
        return answer.status


async def ask(daemon: RunningDaemon, method: str, *arguments: object) -> dict[str, Any]:
    client = ControlClient(daemon.data / "control.sock")
    return await anyio.to_thread.run_sync(lambda: getattr(client, method)(*arguments))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start_failing(*arguments: str, cwd: Path) -> tuple[int, str]:
    """Run `cdpd run`, which must end by itself with an error."""
    done = subprocess.run(
        [sys.executable, "-m", "cdpd", "run", *arguments], cwd=cwd, capture_output=True, text=True, timeout=30
    )
    return done.returncode, done.stderr


async def test_an_event_goes_all_the_way_and_status_tells_of_it(tmp_path: Path, config: str) -> None:
    async with running(tmp_path, config) as daemon:
        assert await post(daemon, {"event": "A", "userId": "u1", "messageId": "m1"}) == 200
        assert await post(daemon, {"event": "A", "userId": "u1", "messageId": "m1"}) == 200
        assert await post(daemon, {"event": "A", "messageId": "m2"}) == 200
        assert await post(daemon, {"event": "A", "userId": "u1"}, key="wk_wrong") == 401
        discarded = await daemon.wait_for("discarded", 2)
        assert [(line["by"], line["code"]) for line in discarded] == [
            ("dedup", "duplicate"),
            ("spec", "no_user_anon_id"),
        ]
        status = await ask(daemon, "status")
        assert status["state"] == "running"
        assert status["pid"] == daemon.pid
        assert status["streams"]["received"]["end"] == 3
        assert status["streams"]["events"]["end"] == 1
        assert set(status["destinations"]) == {"copy"}
        assert await daemon.stop() == 0
    (copied,) = [json.loads(line) for line in (tmp_path / "copy.ndjson").read_bytes().splitlines()]
    assert copied["messageId"] == "m1"
    assert copied["projectId"] == "website"


async def test_the_data_is_for_its_owners_eyes_only(tmp_path: Path, config: str) -> None:
    async with running(tmp_path, config) as daemon:
        await post(daemon, {"event": "A", "userId": "u1"})
        await daemon.wait_for("events", 1)
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [daemon.data, *daemon.data.rglob("*")]}
    open_to_others = {path: oct(mode) for path, mode in modes.items() if mode & 0o077}
    assert not open_to_others


async def test_sighup_applies_a_new_configuration_without_dropping_a_request(
    tmp_path: Path, config: str
) -> None:
    async with running(tmp_path, config) as daemon:
        assert await post(daemon, {"event": "A", "userId": "u1"}) == 200
        added = '\n[sources.app]\nwrite_keys = ["wk_daemon_app_new"]\n[hooks.drop]\nrules = [{ event = "Noise" }]\n'
        daemon.config.write_text(
            config.replace("[sources", '[pipeline]\nhooks = ["spec", "dedup", "drop"]\n[sources') + added
        )
        answer = await ask(daemon, "reload")
        assert answer["changed"] == ["pipeline", "sources", "hooks"]
        assert answer["needs_restart"] == []
        assert await post(daemon, {"event": "B", "userId": "u1"}, key="wk_daemon_app_new") == 200
        assert await post(daemon, {"event": "Noise", "userId": "u1"}) == 200
        await daemon.wait_for("discarded", 1)
        events = await daemon.wait_for("events", 2)
        assert [(event["event"], event["projectId"]) for event in events] == [("A", "website"), ("B", "app")]


async def test_a_wrong_configuration_is_refused_with_its_place_and_the_old_one_goes_on(
    tmp_path: Path,
    config: str,
) -> None:
    async with running(tmp_path, config) as daemon:
        daemon.config.write_text(config.replace("write_keys", "write_key"))
        done = await anyio.run_process(daemon.command("reload"), check=False)
        assert done.returncode == 2
        assert re.search(r"cdpd\.toml:3:1: .*did you mean \"write_keys\"\?", done.stderr.decode())
        daemon.signal(signal.SIGHUP)
        assert await post(daemon, {"event": "A", "userId": "u1"}) == 200
        await daemon.wait_for("events", 1)
        assert await daemon.stop() == 0
        assert "not reloaded" in daemon.log()


async def test_a_discarded_event_is_sent_again_after_the_mistake_was_mended(
    tmp_path: Path, config: str
) -> None:
    strict = (
        config + '\n[pipeline]\nhooks = ["spec", "dedup", "drop"]\n[hooks.drop]\nrules = [{ event = "A" }]\n'
    )
    async with running(tmp_path, strict) as daemon:
        await post(daemon, {"event": "A", "userId": "u1", "messageId": "m1"})
        (line,) = await daemon.wait_for("discarded", 1)
        daemon.config.write_text(config)
        await ask(daemon, "reload")
        which = DiscardedFilter(code=line["code"])
        assert (await ask(daemon, "retry_discarded", which, True))["matched"] == 1
        assert len(daemon.lines("received")) == 1
        assert (await ask(daemon, "retry_discarded", which))["retried"] == 1
        (event,) = await daemon.wait_for("events", 1)
        assert event["messageId"] == "m1"
        assert event["receivedAt"] == line["line"]["receivedAt"]
        assert daemon.lines("received")[1]["retryOf"] == 0


async def test_sigterm_ends_it_with_0_and_leaves_nothing_locked(tmp_path: Path, config: str) -> None:
    async with running(tmp_path, config) as daemon:
        await post(daemon, {"event": "A", "userId": "u1"})
        assert await daemon.stop() == 0
        assert not (daemon.data / "control.sock").exists()
        await daemon.start()
        await post(daemon, {"event": "B", "userId": "u1"})
        events = await daemon.wait_for("events", 2)
        assert [event["event"] for event in events] == ["A", "B"]


async def test_a_second_daemon_on_the_same_data_is_refused_with_the_firsts_pid(
    tmp_path: Path, config: str
) -> None:
    async with running(tmp_path, config) as daemon:
        arguments = (
            "--config",
            str(daemon.config),
            "--data-dir",
            str(daemon.data),
            "--listen",
            "127.0.0.1:0",
        )
        code, said = await anyio.to_thread.run_sync(lambda: start_failing(*arguments, cwd=tmp_path))
        assert code == 1
        assert f"pid {daemon.pid}" in said
    assert "Traceback" not in said


async def test_a_taken_port_is_a_clear_error_that_names_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ("--data-dir", str(tmp_path / "data"), "--listen", f"127.0.0.1:{port}")
        code, said = await anyio.to_thread.run_sync(lambda: start_failing(*arguments, cwd=tmp_path))
    assert code == 1
    assert f"127.0.0.1:{port}" in said
    assert "--listen" in said
    assert "Traceback" not in said
    assert "new destination" not in said
    assert names_in(tmp_path) == [], "a daemon that never ran leaves nothing behind"


async def test_a_second_daemon_of_the_same_configuration_is_told_of_the_first_not_of_its_address(
    tmp_path: Path,
    config: str,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    async with running(tmp_path, config, listen=listen) as daemon:
        arguments = ("--config", str(daemon.config), "--data-dir", str(daemon.data), "--listen", listen)
        code, said = await anyio.to_thread.run_sync(lambda: start_failing(*arguments, cwd=tmp_path))
        assert code == 1
        assert f"pid {daemon.pid}" in said


async def test_a_taken_address_of_the_configuration_is_found_before_anything_is_made(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        (tmp_path / "cdpd.toml").write_text(
            f'[http]\nlisten = ["127.0.0.1:0", "unix:{path}"]\n' + CONFIG.format(folder=tmp_path)
        )
        code, said = await anyio.to_thread.run_sync(lambda: start_failing(cwd=tmp_path))
        assert code == 1
        assert said.startswith(f"cdpd: cannot listen on unix:{path}: the address is in use")
        (tmp_path / "cdpd.toml").write_text(
            f'[http]\nlisten = "127.0.0.1:0"\n[metrics]\nlisten = "unix:{path}"\n'
            + CONFIG.format(folder=tmp_path)
        )
        code, said = await anyio.to_thread.run_sync(lambda: start_failing(cwd=tmp_path))
    assert code == 1
    assert said.endswith("choose one in [metrics] listen\n")
    assert names_in(tmp_path) == ["cdpd.toml", "http.sock"]


async def test_a_wrong_configuration_stops_the_start_with_every_mistake_and_its_place(tmp_path: Path) -> None:
    (tmp_path / "cdpd.toml").write_text('[http]\nlisten = "nowhere"\n[sources.a]\nwrite_kys = []\n')
    code, said = await anyio.to_thread.run_sync(lambda: start_failing(cwd=tmp_path))
    assert code == 2
    assert "cdpd.toml:2:" in said
    assert "cdpd.toml:4:1" in said
    assert "Traceback" not in said


async def test_a_hook_that_cannot_start_refuses_the_reload_and_everything_goes_on(
    tmp_path: Path, config: str
) -> None:
    async with running(tmp_path, config) as daemon:
        (daemon.data / "plugins" / "second").write_text("in the way of the hook's own folder")
        daemon.config.write_text(
            config + '[pipeline]\nhooks = ["spec", "second"]\n[hooks.second]\nuse = "dedup"\n'
            '[destinations.more]\ntype = "null"\n'
        )
        done = await anyio.run_process(daemon.command("reload"), check=False)
        assert done.returncode == 2
        assert "hook 'second' did not start" in done.stderr.decode()
        assert "Traceback" not in done.stderr.decode()
        daemon.signal(signal.SIGHUP)
        assert await post(daemon, {"event": "A", "userId": "u1", "messageId": "m1"}) == 200
        assert await post(daemon, {"event": "A", "userId": "u1", "messageId": "m1"}) == 200
        (duplicate,) = await daemon.wait_for("discarded", 1)
        assert duplicate["by"] == "dedup"
        status = await ask(daemon, "status")
        assert set(status["destinations"]) == {"copy"}
        assert await daemon.stop() == 0


async def test_a_request_that_has_begun_is_answered_however_often_the_daemon_is_told_to_stop(
    tmp_path: Path,
    config: str,
) -> None:
    async with running(tmp_path, config) as daemon:
        body = json.dumps({"event": "A", "userId": "u1", "messageId": "m1"}).encode()
        authorization = key_header("wk_daemon_website")["Authorization"]
        fields = ("Host: x", f"Authorization: {authorization}", f"Content-Length: {len(body)}", "", "")
        head = "\r\n".join(("POST /v1/track HTTP/1.1", *fields))
        port = int(daemon.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            await client.send(head.encode() + body[:10])
            # The daemon has read what was sent once it answers another request on a later connection.
            assert await post(daemon, {"event": "B", "userId": "u1"}) == 200
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
                daemon.signal(number)
            await client.send(body[10:])
            answer = await client.receive()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert await daemon.stop() == 0
        assert {line["messageId"] for line in daemon.lines("received")} >= {"m1"}


async def test_a_lost_state_db_is_told_loudly_with_what_it_means_for_each_destination(
    tmp_path: Path, config: str
) -> None:
    async with running(tmp_path, config) as daemon:
        await post(daemon, {"event": "A", "userId": "u1"})
        await daemon.wait_for("events", 1)
        assert await daemon.stop() == 0
        assert "state.db is new" not in daemon.log()
        for path in daemon.data.glob("state.db*"):
            path.unlink()
        await daemon.start()
        assert await daemon.stop() == 0
        told = [json.loads(line) for line in daemon.log().splitlines() if "state.db is new" in line]
        assert [(line["destination"], line["events_before"], line["level"]) for line in told] == [
            ("copy", 1, "warning")
        ]


async def test_without_a_public_url_browsers_on_this_machine_are_told_the_daemons_own_address(
    tmp_path: Path,
    config: str,
) -> None:
    async with (
        running(tmp_path, config) as daemon,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{daemon.url}/v1/projects/wk_daemon_website/settings") as answer:
            segment = (await answer.json())["integrations"]["Segment.io"]
        assert (segment["apiHost"], segment["protocol"]) == (
            f"{daemon.url.removeprefix('http://')}/v1",
            "http",
        )
        await ask(daemon, "reload")
        async with session.get(f"{daemon.url}/v1/projects/wk_daemon_website/settings") as answer:
            assert (await answer.json())["integrations"]["Segment.io"] == segment


async def test_a_stop_that_meets_a_reload_is_a_clean_stop(tmp_path: Path, config: str) -> None:
    async with running(tmp_path, config) as daemon:
        for _ in range(6):
            daemon.signal(signal.SIGHUP)
            assert await daemon.stop() == 0
            assert "Traceback" not in daemon.log()
            await daemon.start()
