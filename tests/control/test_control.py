"""The control API over its real socket: server and client of this package, in two threads."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
import structlog

from cdpd.config.problem import ConfigError, Problem
from cdpd.control.client import ControlClient, ControlRefused, NotRunning
from cdpd.control.contract import CannotDo, DiscardedFilter
from cdpd.control.server import ControlInUse, serve_control
from cdpd.control.socket_path import LIMIT, SocketPathTooLong, fitting

LOG = structlog.get_logger()


class FakeDaemon:
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.failure: Exception | None = None

    async def status(self) -> dict[str, Any]:
        if self.failure:
            raise self.failure
        return {"state": "running", "streams": {"received": {"end": 7}}}

    async def reload(self) -> dict[str, Any]:
        if self.failure:
            raise self.failure
        return {"changed": ["sources"]}

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        self.asked.append((which, dry_run))
        return {"matched": 2, "retried": 0 if dry_run else 2}

    async def reopen(self) -> dict[str, Any]:
        self.asked.append("reopen")
        return {}


async def ask(path: Path, method: str, *args: object) -> dict[str, Any]:
    return await anyio.to_thread.run_sync(lambda: getattr(ControlClient(path, timeout=20), method)(*args))


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in folder.iterdir()}


def replace_by_a_newer_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as newer:
        newer.bind(str(path))


async def raw(path: Path, request: str) -> bytes:
    async with await anyio.connect_unix(path) as stream:
        await stream.send(request.encode())
        return await stream.receive()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


async def test_each_call_reaches_the_daemon_and_brings_back_its_answer(path: Path) -> None:
    daemon = FakeDaemon()
    async with serve_control(path, daemon, LOG):
        assert await ask(path, "status") == {"state": "running", "streams": {"received": {"end": 7}}}
        assert await ask(path, "reload") == {"changed": ["sources"]}
        assert await ask(path, "reopen") == {}
        which = DiscardedFilter(code="unknown_type", source="website", from_ms=5, to_offset=9)
        assert await ask(path, "retry_discarded", which, True) == {"matched": 2, "retried": 0}
    assert daemon.asked == ["reopen", (which, True)]


async def test_a_part_of_the_daemon_brings_calls_of_its_own(path: Path) -> None:
    async def echo(body: bytes) -> dict[str, Any]:
        return {"said": msgspec.json.decode(body, type=DiscardedFilter).code}

    async def refuse(body: bytes) -> dict[str, Any]:
        raise CannotDo(f"there is no such thing ({len(body)} bytes)")

    async with serve_control(path, FakeDaemon(), LOG, {"POST /echo": echo, "GET /gone": refuse}):
        assert await ask(path, "call", "POST /echo", DiscardedFilter(code="x")) == {"said": "x"}
        with pytest.raises(ControlRefused, match=r"there is no such thing \(0 bytes\)") as caught:
            await ask(path, "call", "GET /gone")
        wrong = await raw(path, 'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"code":1}')
        assert wrong.startswith(b"HTTP/1.1 400")
        assert (await ask(path, "status"))["state"] == "running"
    assert caught.value.code == "cannot"


async def test_the_socket_is_its_owners_alone_and_gone_at_the_end(path: Path) -> None:
    async with serve_control(path, FakeDaemon(), LOG):
        assert modes(path.parent) == {"control.sock": 0o600}
    assert modes(path.parent) == {}


async def test_a_wrong_configuration_is_refused_with_its_problems(path: Path) -> None:
    daemon = FakeDaemon()
    problem = Problem("unknown key", "cdpd.toml", 2, 1, "http.lisen", 'did you mean "listen"?')
    daemon.failure = ConfigError([problem])
    async with serve_control(path, daemon, LOG):
        with pytest.raises(ControlRefused, match="nothing was changed") as caught:
            await ask(path, "reload")
    assert caught.value.code == "config_invalid"
    assert caught.value.problems == [problem]


async def test_a_fault_in_one_answer_is_told_and_the_next_one_is_answered(path: Path) -> None:
    daemon = FakeDaemon()
    async with serve_control(path, daemon, LOG):
        daemon.failure = ZeroDivisionError("by zero")
        with pytest.raises(ControlRefused, match="ZeroDivisionError: by zero"):
            await ask(path, "status")
        daemon.failure = None
        assert (await ask(path, "status"))["state"] == "running"


@pytest.mark.parametrize(
    ("request_text", "status", "code"),
    [
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", b"404", b'"code":"not_found"'),
        ("GET /reload HTTP/1.1\r\nHost: x\r\n\r\n", b"405", b'"code":"bad_request"'),
        (
            "POST /discarded/retry HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n" + '{"filter":{"a":1}}',
            b"400",
            b"unknown field `a`",
        ),
        ("POST /discarded/retry HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{", b"400", b"bad_request"),
    ],
)
async def test_what_is_not_understood_is_answered_in_json(
    path: Path, request_text: str, status: bytes, code: bytes
) -> None:
    async with serve_control(path, FakeDaemon(), LOG):
        answer = await raw(path, request_text)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"application/json" in answer
    assert code in answer


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serve_control(path, FakeDaemon(), LOG):
        assert (await ask(path, "status"))["state"] == "running"


async def test_a_living_daemon_keeps_its_socket(path: Path) -> None:
    async with serve_control(path, FakeDaemon(), LOG):
        with pytest.raises(ControlInUse, match="another daemon answers"):
            async with serve_control(path, FakeDaemon(), LOG):
                pass
        assert (await ask(path, "status"))["state"] == "running"


async def test_a_daemon_that_ends_leaves_the_socket_of_its_successor(path: Path) -> None:
    async with serve_control(path, FakeDaemon(), LOG):
        replace_by_a_newer_socket(path)
    assert modes(path.parent).keys() == {"control.sock"}


def test_no_daemon_is_told_apart_from_a_daemon_that_refuses(path: Path) -> None:
    with pytest.raises(NotRunning, match=f"no daemon is running on {path.parent}"):
        ControlClient(path).status()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunning):
        ControlClient(path).status()
    with pytest.raises(NotRunning):
        ControlClient(path.parent / "nowhere" / "control.sock").status()


def test_a_daemon_that_says_nothing_is_not_waited_for_without_end(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        with pytest.raises(NotRunning, match="does not answer"):
            ControlClient(path, timeout=0.02).status()


async def test_a_data_folder_with_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    path = deep_folder(tmp_path) / "control.sock"
    assert len(os.fsencode(path)) > LIMIT
    async with serve_control(path, FakeDaemon(), LOG):
        assert (await ask(path, "status"))["state"] == "running"
        with pytest.raises(ControlInUse):
            async with serve_control(path, FakeDaemon(), LOG):
                pass
    assert modes(path.parent) == {}


def deep_folder(tmp_path: Path) -> Path:
    folder = tmp_path / ("deep" * 30) / ("er" * 60)
    folder.mkdir(parents=True)
    return folder


def test_a_socket_name_that_nothing_shortens_is_a_clear_error(tmp_path: Path) -> None:
    with (
        pytest.raises(SocketPathTooLong, match="choose a data folder with a shorter path"),
        fitting(tmp_path / ("x" * 120)),
    ):
        pass
