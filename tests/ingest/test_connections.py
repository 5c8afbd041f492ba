"""Slow, silent, vanishing and crowding clients; and the end of the daemon."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import struct
import sys
from collections.abc import Callable

import anyio
import pytest

from cdpd.config.address import Listen
from cdpd.ingest.server import AddressInUse, ListenError, serve
from tests.clock import FakeClock
from tests.ingest.running import Running, make_ingest, running

PATIENCE = 20
AUTH = b"Authorization: Basic V1JJVEVLRVk6\r\n"
HEAD = b"POST /v1/track HTTP/1.1\r\nHost: x\r\n" + AUTH
POST = HEAD + b"Content-Length: 2\r\n\r\n{}"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something has happened."""
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the server and tells nobody
            await asyncio.sleep(0.001)


async def connect(server: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(server.bound.host, server.bound.port)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    with anyio.fail_after(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)


@pytest.mark.parametrize(
    ("begun", "more"),
    [(b"POST /v1/tr", b"ack"), (b"P", b"O"), (HEAD, b"X: y"), (b"PUT / HTTP/1.1\r\nA: b\r\n", b"X: y")],
)
async def test_a_header_that_trickles_in_is_cut_off(begun: bytes, more: bytes) -> None:
    clock = FakeClock()
    async with running(clock, header_timeout=10) as server:
        reader, writer = await connect(server)
        writer.write(begun)
        await until(lambda: any(c.phase.name == "HEADER" for c in server.ingest.watch.connections))
        await clock.advance(6)
        writer.write(more)
        assert len(server.ingest.watch.connections) == 1
        await clock.advance(6)
        with anyio.fail_after(PATIENCE):
            rest = await reader.read()
        assert rest.startswith(b"HTTP/1.1 408 ")
        writer.close()
        await until(lambda: not server.ingest.watch.connections)


@pytest.mark.parametrize("begun", [HEAD + b"Content-Length: 200000\r\n\r\n{", CHUNKED + b"1\r\n{\r\n"])
async def test_a_body_that_trickles_in_is_cut_off(begun: bytes) -> None:
    clock = FakeClock()
    async with running(clock, body_timeout=30) as server:
        reader, writer = await connect(server)
        writer.write(begun)
        await until(lambda: server.ingest.in_flight_bytes == 1)
        await clock.advance(20)
        assert server.ingest.active == 1
        await clock.advance(12)
        status, body = await answer(reader)
        assert (status, json.loads(body)["code"]) == (408, "timeout")
        assert server.lines == []
        assert server.ingest.in_flight_bytes == 0
        writer.close()
        await until(lambda: not server.ingest.watch.connections)


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    clock = FakeClock()
    async with running(clock, keepalive_timeout=75) as server:
        silent, used = await connect(server), await connect(server)
        used[1].write(POST)
        assert (await answer(used[0]))[0] == 200
        await until(lambda: len(server.ingest.watch.connections) == 2)
        await clock.advance(70)
        used[1].write(POST)
        assert (await answer(used[0]))[0] == 200
        await clock.advance(10)
        with anyio.fail_after(PATIENCE):
            assert await silent[0].read() == b""
        assert len(server.ingest.watch.connections) == 1
        for _, writer in (silent, used):
            writer.close()


@pytest.mark.parametrize("begun", [HEAD + b"Content-Length: 100000\r\n\r\n{", CHUNKED + b"1\r\n{\r\n"])
async def test_a_client_that_goes_away_in_the_middle_leaves_nothing_behind(begun: bytes) -> None:
    async with running() as server:
        for _ in range(3):
            _, writer = await connect(server)
            writer.write(begun)
            await until(lambda: server.ingest.in_flight_bytes == 1)
            writer.transport.abort()
            await until(lambda: not server.ingest.watch.connections and not server.ingest.active)
        assert server.ingest.in_flight_bytes == 0
        assert server.lines == []
        assert await server.post("/v1/track", {}) == (200, {"success": True})


@pytest.mark.parametrize("reset", [False, True])
async def test_events_of_a_client_that_did_not_wait_for_the_answer_are_stored(reset: bool) -> None:
    async with running() as server:
        server.log.go.clear()
        _, writer = await connect(server)
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.write(POST)
        await server.log.entered.wait()
        writer.transport.abort()
        if reset:
            await until(lambda: not server.ingest.watch.connections)
        server.log.go.set()
        await until(lambda: not server.ingest.active and not server.ingest.watch.connections)
        assert len(server.lines) == 1


@pytest.mark.parametrize(
    "requests",
    [
        [POST] * 20,
        [POST, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", POST, POST],
        [CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"] * 3 + [POST],
        [POST.replace(b"Basic V1", b"Basic XX"), POST],
    ],
)
@pytest.mark.parametrize("step", [0, 1, 7, 100])
async def test_requests_sent_ahead_are_answered_in_order(requests: list[bytes], step: int) -> None:
    data = b"".join(requests)
    async with running() as server:
        reader, writer = await connect(server)
        for at in range(0, len(data), step or len(data)):
            writer.write(data[at : at + (step or len(data))])
            if step:
                await asyncio.sleep(0)
        for request in requests:
            status, _ = await answer(reader)
            assert status == (401 if b"XX" in request else 200)
        writer.close()
        assert len(server.lines) == sum(b"/v1/track" in r and b"XX" not in r for r in requests)


async def test_what_is_sent_ahead_is_bounded() -> None:
    async with running() as server:
        server.log.go.clear()
        _, writer = await connect(server)
        writer.write(POST * 200_000)  # tens of megabytes behind one that waits
        await server.log.entered.wait()
        (connection,) = server.ingest.watch.connections
        await until(lambda: connection._held)  # type: ignore[attr-defined]  # nothing outside shows it
        assert len(connection._ahead) < 1_000_000  # type: ignore[attr-defined]
        writer.transport.abort()
        server.log.go.set()


async def test_a_client_that_never_reads_its_answers_is_held_and_then_cut() -> None:
    clock = FakeClock()
    async with running(clock, keepalive_timeout=75) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, (server.bound.host, server.bound.port))
        sending = asyncio.create_task(
            loop.sock_sendall(client, b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 100_000)
        )
        await until(lambda: bool(server.ingest.watch.connections))
        (connection,) = server.ingest.watch.connections
        await until(lambda: connection._drained is not None)  # type: ignore[attr-defined]  # nothing shows it
        await clock.advance(80)
        await until(lambda: not server.ingest.watch.connections)
        assert server.ingest.active == 0
        await asyncio.gather(sending, return_exceptions=True)  # the kernel may have taken it all before
        client.close()


@pytest.mark.parametrize("requests", [POST, POST * 3, POST + b"GET /health HT"])
async def test_a_client_that_closes_its_side_still_gets_its_answers(requests: bytes) -> None:
    async with running() as server:
        server.log.go.clear()
        reader, writer = await connect(server)
        writer.write(requests)
        writer.write_eof()
        await server.log.entered.wait()
        server.log.go.set()
        with anyio.fail_after(PATIENCE):
            data = await reader.read()
        assert data.count(b"HTTP/1.1 200 ") == requests.count(b"/v1/track")
        writer.close()
        await until(lambda: not server.ingest.watch.connections)


async def test_a_body_that_is_refused_early_does_not_end_the_connection() -> None:
    async with running() as server:
        reader, writer = await connect(server)
        head = HEAD.replace(b"Basic V1", b"Basic XX") + b"Content-Length: 300000\r\n\r\n"
        writer.write(head + b"x" * 1000)
        assert (await answer(reader))[0] == 401
        writer.write(b"x" * 299_000 + POST)
        assert (await answer(reader))[0] == 200
        writer.close()


async def test_a_client_is_heard_out_before_a_connection_is_closed() -> None:
    async with running(max_batch_bytes=1000) as server:
        reader, writer = await connect(server)
        writer.write(HEAD + b"Connection: close\r\nContent-Length: 3000000\r\n\r\n")
        assert (await answer(reader))[0] == 400
        writer.write(b"x" * 3_000_000)
        await writer.drain()  # a reset would fail here
        with anyio.fail_after(PATIENCE):
            assert await reader.read() == b""
        writer.close()


async def test_bodies_in_flight_are_bounded_over_all_connections() -> None:
    async with running(max_in_flight_bytes=2000) as server:
        reader, writer = await connect(server)
        writer.write(HEAD + b"Content-Length: 900\r\n\r\n" + b" " * 800)
        await until(lambda: server.ingest.in_flight_bytes == 800)
        status, error = await server.post("/v1/track", b'{"t":"' + b"x" * 1300 + b'"}')
        assert (status, error["code"]) == (503, "overloaded")
        other = await connect(server)
        other[1].write(HEAD + b"Content-Length: 1500\r\n\r\n")
        assert (await answer(other[0]))[0] == 503
        writer.write(b" " * 98 + b"{}")
        assert (await answer(reader))[0] == 200
        assert server.ingest.in_flight_bytes == 0
        for each in (writer, other[1]):
            each.close()


_CROWD = """
import socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
crowd = [socket.create_connection((host, port)) for _ in range(count)]
print("there", flush=True)
sys.stdin.read()
"""


async def test_ten_thousand_idle_connections_do_not_matter() -> None:
    count = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 500:
        pytest.skip(f"needs {count + 500} open files, the machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), hard))
    try:
        async with running() as server:
            where = (server.bound.host, str(server.bound.port), str(count))
            async with await anyio.open_process([sys.executable, "-c", _CROWD, *where]) as crowd:
                assert crowd.stdout is not None
                assert crowd.stdin is not None
                with anyio.fail_after(PATIENCE):
                    assert (await crowd.stdout.receive()).startswith(b"there")
                await until(lambda: len(server.ingest.watch.connections) == count)
                assert await server.post("/v1/track", {}) == (200, {"success": True})
                await crowd.stdin.aclose()
            await until(lambda: len(server.ingest.watch.connections) <= 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- the end ---------------------------------------------------------------------------------------------


async def test_draining_finishes_what_was_begun_and_takes_nothing_more() -> None:
    ingest, log, _ = make_ingest()
    log.go.clear()
    async with anyio.create_task_group() as tasks:
        stop = anyio.Event()
        bound: list[Listen] = []

        async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            async with serve(ingest, [Listen("127.0.0.1", 0)]) as addresses:
                bound.extend(addresses)
                task_status.started()
                await stop.wait()

        await tasks.start(run)
        waiting = await asyncio.open_connection(bound[0].host, bound[0].port)
        reading = await asyncio.open_connection(bound[0].host, bound[0].port)
        idle = await asyncio.open_connection(bound[0].host, bound[0].port)
        waiting[1].write(POST)
        await log.entered.wait()
        reading[1].write(HEAD + b"Content-Length: 2\r\n\r\n{")
        await until(lambda: ingest.active == 2 and len(ingest.watch.connections) == 3)
        stop.set()
        with anyio.fail_after(PATIENCE):
            assert await idle[0].read() == b""
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, either way it is not taken
            await asyncio.open_connection(bound[0].host, bound[0].port)
        reading[1].write(b"}")
        log.go.set()
        for reader, writer in (waiting, reading):
            with anyio.fail_after(PATIENCE):
                data = await reader.read()
            assert data.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: close" in data
            writer.close()
        idle[1].close()
    assert len(log.lines) == 2
    assert not ingest.watch.connections


async def test_a_taken_address_is_a_clear_error_and_leaves_nothing_open() -> None:
    ingest, _, _ = make_ingest()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=rf"127\.0\.0\.1:{port}.*--listen") as raised:
            async with serve(ingest, [Listen("127.0.0.1", 0), Listen("127.0.0.1", port)]):
                pass
        assert raised.value.listen == Listen("127.0.0.1", port)


async def test_an_address_of_another_machine_is_a_clear_error() -> None:
    ingest, _, _ = make_ingest()
    with pytest.raises(ListenError, match=r"203\.0\.113\.1:0"):
        async with serve(ingest, [Listen("203.0.113.1", 0)]):
            pass
    with pytest.raises(ListenError, match=r"no\.such\.host\.invalid"):
        async with serve(ingest, [Listen("no.such.host.invalid", 0)]):
            pass


async def test_every_address_of_the_machine_is_one_port() -> None:
    ingest, _, _ = make_ingest()
    async with serve(ingest, [Listen("", 0)]) as bound:
        assert len(bound) == 1
        reader, writer = await asyncio.open_connection("127.0.0.1", bound[0].port)
        writer.write(POST)
        assert (await answer(reader))[0] == 200
        writer.close()
