"""TCP and Unix sockets, ours and systemd's: taken, replaced and left behind as they should be."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from cdpd.config.address import Listen, parse_listen
from cdpd.ingest.handed import take_handed
from cdpd.ingest.server import AddressInUse, ListenError, serve
from cdpd.ingest.sockets import Listening, bind_unix
from tests.ingest.running import basic, make_ingest


async def track(path: str) -> int:
    """Send an event through a Unix socket: the status."""
    connector = aiohttp.UnixConnector(path)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.post("http://cdpd/v1/track", data=b'{"event":"A","userId":"u"}', headers=basic()) as answer,
    ):
        return answer.status


def entries(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def unix(path: Path) -> Listen:
    return parse_listen(f"unix:{path}")


async def test_several_addresses_are_served_and_the_sockets_file_goes_at_the_end(tmp_path: Path) -> None:
    ingest, log, _ = make_ingest()
    path = tmp_path / "http.sock"
    async with serve(ingest, [Listen("127.0.0.1", 0), unix(path)], unix_mode=0o620) as bound:
        assert stat.S_IMODE(path.stat().st_mode) == 0o620
        assert [address.url.partition(":")[0] for address in bound] == ["http", "unix"]
        assert await track(str(path)) == 200
        async with aiohttp.ClientSession() as http, http.get(f"{bound[0].url}/health/live") as answer:
            assert answer.status == 200
    assert not entries(tmp_path)
    assert "ip" not in log.lines[0]["via"]


async def test_behind_a_proxy_on_a_unix_socket_the_clients_address_is_known(tmp_path: Path) -> None:
    for trusted, seen in ((["unix"], "198.51.100.7"), ([], ""), (["127.0.0.1"], "")):
        ingest, log, _ = make_ingest(trusted_proxies=trusted)
        path = tmp_path / "http.sock"
        connector = aiohttp.UnixConnector(str(path))
        async with serve(ingest, [unix(path)]), aiohttp.ClientSession(connector=connector) as http:
            headers = {**basic(), "X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
            async with http.post("http://x/v1/track", data=b'{"userId":"u"}', headers=headers) as answer:
                assert answer.status == 200
        assert log.lines[0]["via"].get("ip", "") == seen


async def test_a_socket_that_a_killed_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    ingest, _, _ = make_ingest()
    async with serve(ingest, [unix(path)]):
        assert await track(str(path)) == 200


async def test_a_socket_that_somebody_answers_on_and_a_file_are_left_alone(tmp_path: Path) -> None:
    ingest, _, _ = make_ingest()
    path = tmp_path / "http.sock"
    async with serve(ingest, [unix(path)]):
        other, _, _ = make_ingest()
        with pytest.raises(AddressInUse, match=r"http\.sock"):
            async with serve(other, [unix(path)]):
                pass
        assert await track(str(path)) == 200
    file = tmp_path / "precious"
    file.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(path)
    for where in (file, link):
        with pytest.raises(ListenError, match="it is not a socket"):
            async with serve(ingest, [unix(where)]):
                pass
    assert file.read_text() == "precious"
    with pytest.raises(ListenError, match=r"the folder .*/none has to exist"):
        async with serve(ingest, [unix(tmp_path / "none" / "x")]):
            pass
    assert entries(tmp_path) == ["link", "precious"]


def test_the_next_daemons_socket_is_not_removed_by_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    first = bind_unix(unix(path), 0o600)
    first.sockets[0].close()
    second = bind_unix(unix(path), 0o600)
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()


# -- sockets that systemd hands over ---------------------------------------------------------------------


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def environ(count: int, names: str = "") -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names, "HOME": "/"}


def handed(*sockets: socket.socket, names: str = "") -> list[Listening]:
    """The sockets as descriptors that follow each other, taken as systemd's."""
    first = 400
    for i, sock in enumerate(sockets):
        os.dup2(sock.fileno(), first + i)
    given = environ(len(sockets), names)
    taken = take_handed(given, first=first)
    assert given == {"HOME": "/"}, "nobody takes them again"
    return taken


async def test_they_are_served_and_outlive_the_daemon(tcp: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "systemd.sock"
    with socket.socket(socket.AF_UNIX) as named:
        named.bind(str(path))
        named.listen()
        for _ in range(2):
            ingest, log, _ = make_ingest()
            taken = handed(tcp, named, names="http:http")
            assert [os.get_inheritable(sock.fileno()) for each in taken for sock in each.sockets] == [
                False
            ] * 2
            # Connects before anybody serves: it waits in the socket's queue.
            early = asyncio.create_task(track(str(path)))
            await asyncio.sleep(0)
            async with serve(ingest, [], handed=taken) as bound:
                assert bound[0].port == tcp.getsockname()[1]
                assert bound[1].path == str(path)
                assert await early == 200
                async with aiohttp.ClientSession() as http, http.get(f"{bound[0].url}/health/live") as answer:
                    assert answer.status == 200
            assert path.is_socket(), "it is systemd's"
            assert len(log.lines) == 1


def test_those_of_another_process_or_none_are_not_taken(tcp: socket.socket) -> None:
    for given in ({}, {**environ(1), "LISTEN_PID": "1"}, {**environ(1), "LISTEN_FDS": "x"}):
        before = dict(given)
        assert take_handed(given) == []
        assert given == before


def test_a_name_says_which_speak_tls(tcp: socket.socket) -> None:
    taken = handed(tcp, tcp, names="http:https-public")
    assert [str(each.listen).startswith("https://") for each in taken] == [False, True]
    for each in taken:
        each.close()


async def test_tls_without_a_certificate_is_refused(tcp: socket.socket) -> None:
    ingest, _, _ = make_ingest()
    with pytest.raises(ListenError, match=r"TLS needs a certificate: \[http\.tls\]"):
        async with serve(ingest, [], handed=handed(tcp, names="https")):
            pass


def test_what_takes_no_connections_is_refused_with_what_the_unit_needs(tcp: socket.socket) -> None:
    with (
        socket.create_connection(tcp.getsockname()) as connected,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
    ):
        for sock in (connected, udp):
            with pytest.raises(ListenError, match=r"of systemd \(web\).*ListenStream= and Accept=no"):
                handed(sock, names="web")
    reading, writing = os.pipe()
    os.dup2(reading, 400)
    with pytest.raises(ListenError, match="it is no socket"):
        take_handed(environ(1), first=400)
    for descriptor in (reading, writing, 400):
        os.close(descriptor)
