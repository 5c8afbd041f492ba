"""Operating a daemon under load: reloads, certificates, restarts and stops; nobody's request fails."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import aiohttp
import anyio
import pytest

from tests.certificates import make_certificate
from tests.running import PATIENCE, RunningDaemon, roles, running
from tests.steady_clients import SteadyClients
from tests.test_daemon import ask

KEY = "wk_operations_web"
CONFIG = f"""
[sources.web]
write_keys = ["{KEY}"]
[destinations.null]
"""
LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does between fork and exec: descriptor 3 is the socket that it listens on."""


@pytest.fixture(params=[[], [["ingest"], ["process"], ["deliver"]]], ids=["one process", "a process a role"])
def config(request: pytest.FixtureRequest) -> str:
    """A configuration that runs, in one process and in several."""
    return CONFIG + roles(request.param)


def port_of(daemon: RunningDaemon) -> int:
    return int(daemon.url.rpartition(":")[2])


@asynccontextmanager
async def under_load(clients: SteadyClients) -> AsyncIterator[None]:
    """Clients send inside the `with`; at its end all that was begun is answered."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clients.run)
        await clients.more(100)
        yield
        await clients.more(100)
        clients.stop()


def all_is_kept(daemon: RunningDaemon, clients: SteadyClients) -> None:
    """Every event that was taken is in the log, once a request at least (a retry may bring one twice)."""
    kept = [line["messageId"] for line in daemon.lines("received")]
    assert set(kept) >= set(clients.sent)
    assert len(kept) <= len(clients.sent) + clients.retried


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket as systemd holds it: it is there before, between and after daemons."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        yield sock


async def test_reloads_under_load_are_noticed_by_nobody(tmp_path: Path, config: str) -> None:
    async with running(tmp_path, config) as daemon:
        clients = SteadyClients(port_of(daemon), KEY)
        async with under_load(clients):
            for i in range(5):
                more = f'[sources.more{i}]\nwrite_keys = ["wk_operations_{i}"]\n[pipeline]\nslow_hook_ms = {30 + i}\n'
                daemon.config.write_text(config + more)
                assert "sources" in (await ask(daemon, "reload"))["changed"]
                await clients.more(50)
            daemon.config.write_text(config + "[wrong]\n")
            daemon.signal(signal.SIGHUP)
            await clients.more(100)
        assert clients.retried == 0
        all_is_kept(daemon, clients)


async def test_certificates_change_under_load_and_a_broken_one_changes_nothing(
    tmp_path: Path, config: str
) -> None:
    names = [make_certificate(tmp_path, name) for name in ("first.test", "second.test", "third.test")]
    context = ssl.create_default_context(cadata="".join(pem.read_text() for pem, _ in names))
    config += (
        '[metrics]\ntoken = "for-the-certificate"\n[http.tls]\ncertificate = "now.pem"\nkey = "now.key"\n'
    )
    pem, key = tmp_path / "now.pem", tmp_path / "now.key"

    def use(new: tuple[Path, Path]) -> None:
        pem.write_bytes(new[0].read_bytes())
        key.write_bytes(new[1].read_bytes())

    async def shown() -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(daemon), ssl=context)
        name = writer.get_extra_info("peercert")["subject"][0][0][1]
        writer.close()
        return str(name)

    use(names[0])
    async with running(tmp_path, config, listen="https://127.0.0.1:0") as daemon:
        clients = SteadyClients(port_of(daemon), KEY, tls=context, per_connection=20)
        async with under_load(clients):
            assert await shown() == "first.test"
            for name, new in zip(("second.test", "third.test"), names[1:], strict=True):
                use(new)
                assert (await ask(daemon, "reload"))["changed"] == ["the certificate"]
                assert await shown() == name
                await clients.more(100)
            key.write_bytes(names[0][1].read_bytes())
            done = await anyio.run_process(daemon.command("reload"), check=False)
            assert done.returncode == 2
            told = (
                rf"cdpd\.toml:\d+:7: http\.tls\.key: {re.escape(str(key))} is not the key of the certificate"
            )
            assert re.search(told, done.stderr.decode())
            assert await shown() == "third.test"
            bearer = {"Authorization": "Bearer for-the-certificate"}
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http,
                http.get(f"{daemon.url}/metrics", headers=bearer) as page,
            ):
                ends = re.search(
                    r"^cdpd_certificate_expiry_timestamp_seconds (\S+)$", await page.text(), re.MULTILINE
                )
            assert ends
            status = await ask(daemon, "status")
            expires = datetime.fromisoformat(status["certificate"]["expires"])
            assert float(ends[1]) == expires.timestamp()
            assert status["certificate"]["from"] == str(pem)
        assert clients.retried == 0
        all_is_kept(daemon, clients)
        assert await daemon.stop() == 0
        assert "Traceback" not in daemon.log()


async def test_restarts_behind_a_socket_of_systemd_lose_no_request(
    tmp_path: Path, config: str, listening: socket.socket
) -> None:
    port = listening.getsockname()[1]
    async with running(tmp_path, config) as daemon:
        await daemon.stop()
        daemon.launcher = [sys.executable, "-c", LAUNCH, str(listening.fileno())]
        daemon.passed = [listening.fileno()]
        await daemon.start()
        assert port_of(daemon) == port
        clients = SteadyClients(port, KEY, per_connection=50)
        async with under_load(clients):
            for _ in range(3):
                assert await daemon.stop() == 0
                await daemon.start()
                await clients.more(100)
        all_is_kept(daemon, clients)


async def test_a_stop_under_load_answers_what_it_took_and_ends_with_0(tmp_path: Path, config: str) -> None:
    async with running(tmp_path, config) as daemon:
        clients = SteadyClients(port_of(daemon), KEY, ends_when_refused=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clients.run, 16)
            await clients.more(500)
            assert await daemon.stop() == 0
        all_is_kept(daemon, clients)


async def test_a_stop_waits_for_new_connections_and_headers_that_have_begun(
    tmp_path: Path, config: str
) -> None:
    async with running(tmp_path, config) as daemon:
        request = SteadyClients(0, KEY)._request("m1")
        fresh = await asyncio.open_connection("127.0.0.1", port_of(daemon))
        begun = await asyncio.open_connection("127.0.0.1", port_of(daemon))
        begun[1].write(request[:30])
        used = await asyncio.open_connection("127.0.0.1", port_of(daemon))
        used[1].write(request)
        await used[0].readuntil(b'{"success":true}')  # the daemon has read what was sent before
        daemon.signal(signal.SIGTERM)
        with anyio.fail_after(PATIENCE):
            assert await used[0].read() == b""
            fresh[1].write(request)
            begun[1].write(request[30:])
            for reader, writer in (fresh, begun):
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b"Connection: close" in answer
                writer.close()
        used[1].close()
        assert await daemon.stop() == 0


async def test_a_service_manager_hears_of_start_reload_and_stop(tmp_path: Path, config: str) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.setblocking(False)
        heard: list[str] = []

        async def hears(text: str) -> str:
            with anyio.fail_after(PATIENCE):
                while True:
                    for i, message in enumerate(heard):
                        if message.startswith(text):
                            del heard[: i + 1]
                            return message
                    await anyio.wait_readable(manager)
                    heard.append(manager.recv(4096).decode())

        async with running(tmp_path, config) as daemon:
            await daemon.stop()
            daemon.environ = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "600000"}
            await daemon.start()
            assert f"on {daemon.url}; all events processed; 1 destination" in await hears("READY=1")
            await hears("WATCHDOG=1")
            await ask(daemon, "reload")
            assert "MONOTONIC_USEC=" in await hears("RELOADING=1")
            await hears("READY=1")
            daemon.signal(signal.SIGHUP)
            await hears("RELOADING=1")
            await hears("READY=1")
            os.kill(daemon.pid, signal.SIGTERM)
            await hears("STOPPING=1")
            assert await daemon.stop() == 0


async def test_several_addresses_are_told_of_and_a_command_finds_one(tmp_path: Path, config: str) -> None:
    config += f'[http]\nlisten = ["unix:{tmp_path}/http.sock"]\n'
    async with running(tmp_path, config) as daemon:
        await daemon.stop()
        async with await anyio.open_process(daemon.command("run"), stderr=None) as process:
            assert process.stdout is not None
            with anyio.fail_after(PATIENCE):
                said = (await process.stdout.receive()).decode()
            assert said.startswith(f"cdpd listens on unix:{tmp_path}/http.sock; ")
            event = ("--type", "track", "--event", "A", "--user", "u")
            sent = await anyio.run_process(daemon.command("send", *event))
            assert f"sent 1 event to unix:{tmp_path}/http.sock as source web" in sent.stdout.decode()
            status = await anyio.run_process(daemon.command("status", "--json"))
            assert json.loads(status.stdout)["listen"] == [f"unix:{tmp_path}/http.sock"]
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(PATIENCE):
                assert await process.wait() == 0
        assert not (tmp_path / "http.sock").exists()
