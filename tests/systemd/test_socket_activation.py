"""Started by the first connection, by systemd's own tool."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import anyio

from tests.running import PATIENCE, key_header
from tests.services import program

CONFIG = """
[http]
listen = "127.0.0.1:1"
[sources.web]
write_keys = ["wk_activation_web"]
[destinations.null]
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


async def test_the_first_connection_starts_it_and_is_answered(tmp_path: Path) -> None:
    activate = program("systemd-socket-activate", "systemd")
    config = tmp_path / "cdpd.toml"
    config.write_text(CONFIG)
    port, path = free_port(), tmp_path / "http.sock"
    command = [
        *(activate, "--fdname=http:http", "-l", f"127.0.0.1:{port}", "-l", str(path)),
        *("-E", f"HOME={tmp_path}"),
        *(sys.executable, "-P", "-m", "cdpd", "run", "--config", config, "--data-dir", tmp_path / "data"),
    ]
    async with await anyio.open_process(
        [os.fspath(part) for part in command], stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = b""
        with anyio.fail_after(PATIENCE):
            while said.count(b"Listening on") < 2:
                said += await process.stderr.receive()
            assert not (tmp_path / "data").exists(), "nothing runs yet"
            url = f"http://127.0.0.1:{port}/v1/track"
            event = b'{"event":"A","userId":"u"}'
            for connector in (None, aiohttp.UnixConnector(str(path))):
                async with (
                    aiohttp.ClientSession(connector=connector) as http,
                    http.post(url, data=event, headers=key_header("wk_activation_web")) as answer,
                ):
                    assert answer.status == 200
            banner = (await process.stdout.receive()).decode()
            assert banner.startswith(f"cdpd listens on http://127.0.0.1:{port}, unix:{path}; ")
            process.terminate()
            assert await process.wait() == 0
    assert path.is_socket(), "it is systemd's to remove"
