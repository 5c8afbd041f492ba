"""What the units take away from a process is not missed: memory that is writable and executable.

The kernel itself denies it here (PR_SET_MDWE), as MemoryDenyWriteExecute= makes it; a whole service under its unit
is in test_manager.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.certificates import make_certificate

DENIED = """
import ctypes, mmap
libc = ctypes.CDLL(None)
if libc.prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    print("this kernel cannot")
    raise SystemExit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    raise SystemExit("memory may be writable and executable")
"""
WORKS = """
import asyncio, hashlib, re, sqlite3, ssl, sys, threading

import aiohttp, anyio, google_crc32c, jwt, maxminddb, msgspec, rich, structlog, ua_parser, uvloop, zstandard
import cdpd.cli, cdpd.daemon
from cdpd import discovery

for installed in (discovery.hooks(), discovery.destinations()):
    for one in installed.values():
        one.load()

import duckdb
assert duckdb.sql("select count(*) from range(100000) where range % 7 = 3").fetchall() == [(14286,)]
assert zstandard.decompress(zstandard.compress(b"x" * 100000)) == b"x" * 100000
assert google_crc32c.value(b"x")
assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)

from cdpd.config.certificate import configured_certificate, server_context
data = {"http": {"tls": {"certificate": sys.argv[1], "key": sys.argv[2]}}}
from pathlib import Path
files = configured_certificate(data, Path(), {})
context = server_context(files)
client = ssl.create_default_context(cadata=files.chain.decode())

async def main():
    async def answer(reader, writer):
        writer.write(await reader.readexactly(4))
        writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("localhost", port, ssl=client)
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    assert await anyio.to_thread.run_sync(lambda: 7) == 7
    writer.close()
    server.close()

uvloop.run(main())
"""


def test_everything_that_we_use_works_without_memory_that_is_writable_and_executable(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    script = tmp_path / "works.py"
    script.write_text(DENIED + WORKS)
    done = subprocess.run(
        [sys.executable, "-P", script, certificate, key], capture_output=True, text=True, timeout=120
    )
    if done.returncode == 77:
        pytest.skip("the kernel is older than 6.3: it has no PR_SET_MDWE")
    assert done.returncode == 0, done.stderr
