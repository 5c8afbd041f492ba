"""TLS: every kind of request goes through it, certificates change under way, and the end is clean."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest

from cdpd.config.address import Listen
from cdpd.config.certificate import CertificateFiles, configured_certificate
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.server import serve
from cdpd.ingest.tls import Tls
from tests.certificates import make_certificate
from tests.ingest.running import FakeLog, basic, make_ingest
from tests.ingest.test_connections import PATIENCE, POST, answer

BATCH = b'{"batch":[' + b",".join([b'{"type":"track","event":"A","userId":"u"}'] * 2000) + b"]}"


def certificate(folder: Path, name: str = "cdp.test", kind: str = "ec") -> CertificateFiles:
    pem, key = make_certificate(folder, name, kind=kind)
    files = configured_certificate({"http": {"tls": {"certificate": str(pem), "key": str(key)}}}, folder, {})
    assert isinstance(files, CertificateFiles)
    return files


def trusting(*files: CertificateFiles) -> ssl.SSLContext:
    """A client's context."""
    context = ssl.create_default_context(cadata="".join(each.chain.decode() for each in files))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class Rig:
    def __init__(self, ingest: Ingest, log: FakeLog, tls: Tls, bound: Listen) -> None:
        self.ingest = ingest
        self.log = log
        self.tls = tls
        self.bound = bound

    async def connect(self, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.bound.port, ssl=context)

    async def shown(self, *files: CertificateFiles) -> str:
        """The name in the certificate that a new connection is shown."""
        _, writer = await self.connect(trusting(*files))
        shown = writer.get_extra_info("peercert")
        writer.close()
        return str(shown["subject"][0][0][1])


@asynccontextmanager
async def running(files: CertificateFiles) -> AsyncIterator[Rig]:
    ingest, log, _ = make_ingest()
    tls = Tls(files)
    async with serve(ingest, [Listen("127.0.0.1", 0, tls=True)], tls=tls) as bound:
        yield Rig(ingest, log, tls, bound[0])


@pytest.mark.parametrize("kind", ["ec", "rsa"])
async def test_requests_of_every_kind_are_answered(tmp_path: Path, kind: str) -> None:
    files = certificate(tmp_path, kind=kind)
    async with running(files) as rig:
        assert rig.bound.url.startswith("https://127.0.0.1:")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting(files))) as http:

            async def body() -> AsyncIterator[bytes]:
                yield BATCH[:70_000]
                yield BATCH[70_000:]

            for data in (BATCH, body()):  # of known length, and chunked: by both readers of requests
                url = f"{rig.bound.url}/v1/batch"
                async with http.post(url, data=data, headers=basic()) as answered:
                    assert answered.status == 200
            async with http.get(f"{rig.bound.url}/health/ready") as answered:
                assert answered.status == 200
        assert len(rig.log.lines) == 4000


async def test_http_1_1_is_agreed_on_and_tls_1_1_refused(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    async with running(files) as rig:
        _, writer = await rig.connect(trusting(files))
        tls = writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "http/1.1"
        assert tls.version() == "TLSv1.3"
        writer.close()
        old = trusting(files)
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, OSError)):
            await rig.connect(old)


async def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on(tmp_path: Path) -> None:
    first, second = certificate(tmp_path, "old.test", "rsa"), certificate(tmp_path, "new.test", "ec")
    async with running(first) as rig:
        reader, writer = await rig.connect(trusting(first))
        writer.write(POST)
        assert (await answer(reader))[0] == 200
        assert await rig.shown(first, second) == "old.test"
        rig.tls.apply(second)
        assert await rig.shown(first, second) == "new.test"
        writer.write(POST)
        assert (await answer(reader))[0] == 200
        writer.close()
        # Clients that would rather have the old kind of key do not get the old certificate either.
        rsa_only = trusting(first, second)
        rsa_only.maximum_version = ssl.TLSVersion.TLSv1_2
        rsa_only.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        with pytest.raises((ssl.SSLError, OSError)):
            await rig.connect(rsa_only)
        rig.tls.apply(first)
        assert await rig.shown(first, second) == "old.test"


async def test_what_is_no_tls_harms_nobody(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    async with running(files) as rig:
        for said in (POST, b"\x16\x03\x01\x02\x00" + b"\0" * 512, b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.bound.port)
            writer.write(said)
            writer.write_eof()
            with anyio.fail_after(PATIENCE):
                try:
                    await reader.read()
                except ConnectionResetError:
                    pass
            writer.close()
        assert await rig.shown(files) == "cdp.test"


async def test_a_handshake_that_is_under_way_when_the_daemon_stops_is_finished_and_answered(
    tmp_path: Path,
) -> None:
    files = certificate(tmp_path)
    ingest, log, _ = make_ingest()
    async with anyio.create_task_group() as tasks:
        stop = anyio.Event()
        where: list[Listen] = []

        async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            async with serve(ingest, [Listen("127.0.0.1", 0, tls=True)], tls=Tls(files)) as bound:
                where.extend(bound)
                task_status.started()
                await stop.wait()

        await tasks.start(run)
        # A plain connection first, TLS later.
        plain = socket.create_connection(("127.0.0.1", where[0].port))
        plain.setblocking(False)
        with anyio.fail_after(PATIENCE):
            while not ingest.watch.accepted:  # noqa: ASYNC110 - what is waited for happens in the server and tells nobody
                await asyncio.sleep(0.001)
        stop.set()
        await asyncio.sleep(0)
        reader, writer = await asyncio.open_connection(
            sock=plain, ssl=trusting(files), server_hostname="localhost"
        )
        writer.write(POST)
        with anyio.fail_after(PATIENCE):
            data = await reader.read()
        assert data.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in data
        writer.close()
    assert len(log.lines) == 1
