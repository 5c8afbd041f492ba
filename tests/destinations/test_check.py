"""The tests of connections that built-in destinations have: nothing is sent, nothing is made."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from cdpd.destinations.console import Console
from cdpd.destinations.file import File
from cdpd.destinations.null import Null
from cdpd.destinations.webhook import Webhook
from cdpd.functions.destination import FunctionDestination
from cdpd.testing import running_destination, running_vendor
from tests.certificates import make_certificate


async def test_a_webhook_is_connected_to_and_gets_no_request() -> None:
    async with (
        running_vendor() as vendor,
        running_destination(Webhook, {"url": f"{vendor.url}/in?key=secret"}) as webhook,
    ):
        found = await webhook.check()
    assert found.state == "ok"
    assert f"{vendor.url} can be connected to" in found.text
    assert "secret" not in found.text
    assert vendor.requests == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1 cannot be reached: Connection refused (ECONNREFUSED)"),
        ("http://nobody.invalid", "the host name of http://nobody.invalid cannot be resolved (ENOTFOUND)"),
    ],
)
async def test_why_a_webhook_cannot_be_reached_is_told(url: str, said: str) -> None:
    async with running_destination(Webhook, {"url": url}) as webhook:
        found = await webhook.check()
    assert (found.state, found.text) == ("failed", said)


async def test_a_certificate_that_is_not_trusted_is_told(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, running_destination(Webhook, {"url": url}) as webhook:
        found = await webhook.check()
    assert found.state == "failed"
    assert "certificate is not trusted" in found.text


async def test_the_addresses_in_mappings_are_tested_and_those_of_events_cannot_be() -> None:
    fixed = {"action": "send", "when": "all", "mapping": {"url": "http://127.0.0.1:1/in"}}
    own = {"action": "send", "when": "all", "mapping": {"url": {"@path": "$.properties.url"}}}
    async with running_destination(Webhook, {"actions": [own, fixed]}) as webhook:
        assert (await webhook.check()).state == "failed"
    async with running_destination(Webhook, {"actions": [own]}) as webhook:
        found = await webhook.check()
    assert found.state == "unknown"
    assert "cdpd destination test" in found.text


@pytest.mark.parametrize("there", [True, False])
async def test_a_file_that_may_be_written_is_neither_made_nor_changed(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "out.ndjson"
    if there:
        path.write_bytes(b"{")
    async with running_destination(File, {"path": str(path)}) as file:
        found = await file.check()
    assert found.state == "ok"
    assert path.exists() is there
    assert not there or path.read_bytes() == b"{"


async def test_a_file_that_cannot_be_is_told_as_when_it_is_written(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "none" / "out.ndjson", "does not exist: make it"),
        (tmp_path, "is a folder"),
    ):
        async with running_destination(File, {"path": str(path)}) as file:
            found = await file.check()
        assert found.state == "failed"
        assert said in found.text


async def test_where_there_is_nothing_to_connect_to_all_is_well() -> None:
    for kind in (Null, Console):
        async with running_destination(kind) as destination:
            assert (await destination.check()).state == "ok"


async def test_a_function_is_run_but_none_of_its_handlers(tmp_path: Path) -> None:
    path = tmp_path / "function.py"
    path.write_text("def on_track(event, settings):\n    raise RuntimeError\n")
    path.chmod(0o600)
    async with running_destination(FunctionDestination, {"file": str(path)}) as function:
        found = await function.check()
    assert (found.state, found.text) == ("ok", "the file runs, and has on_track")
    path.write_text("def on_track(event, settings)\n")
    async with running_destination(FunctionDestination, {"file": str(path)}) as function:
        found = await function.check()
    assert found.state == "failed"
    assert "the function cannot be run: no Python: line 1" in found.text
