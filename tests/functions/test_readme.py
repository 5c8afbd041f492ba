"""cdpd/functions/README.md: its files are a configuration that works, and its examples give what they say."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from cdpd import functions
from cdpd.config.functions import FunctionSetup
from cdpd.config.load import load
from cdpd.functions import errors
from cdpd.functions.destination import FunctionDestination
from cdpd.functions.frames import Webhook
from cdpd.functions.host import Host, Surroundings
from cdpd.functions.kept import FunctionsDb
from cdpd.testing import running_destination, running_vendor
from cdpd.testing.log import KeptLog
from tests.cli.conftest import in_a_process
from tests.clock import FakeClock

Called = tuple[str, list[dict[str, Any]]]
"""How a call ended, and what it emitted."""
README = Path(functions.__file__).with_name("README.md").read_text()
FILES = dict(re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)```", README, re.DOTALL))


def unpack(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def test_the_configuration_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpack(tmp_path)
    monkeypatch.setenv("SHOP_SECRET", "s3cret")
    monkeypatch.setenv("CRM_KEY", "k3y")
    loaded = load(tmp_path / "cdpd.toml")
    assert loaded.warnings == []
    assert loaded.config.sources["website"].hooks == ["spec", "dedup", "website.insert", "ip"]


def test_the_commands_print_what_it_says(tmp_path: Path) -> None:
    unpack(tmp_path)
    (tmp_path / "cdpd.toml").unlink()  # the examples are of files alone
    (session,) = re.findall(r"```console\n\$ (.*?)\n(.*?)```", README, re.DOTALL)
    command, printed = session
    ran = in_a_process(*shlex.split(command)[1:], cwd=tmp_path)
    assert (ran.code, ran.out) == (0, printed)


async def test_the_destination_does_what_its_comment_says(tmp_path: Path) -> None:
    unpack(tmp_path)
    async with running_vendor() as vendor:
        vendor.replies(200, 429, 400, 401)
        settings = {"api_key": "k3y", "url": vendor.url}
        options = {"type": "function", "file": str(tmp_path / "functions/crm.py"), "settings": settings}
        person = {"type": "identify", "userId": "u", "traits": {"email": "ada@example.com"}}
        async with running_destination(FunctionDestination, options) as running:
            told = [(await running.deliver(person))[0] for _ in range(4)]
            told += await running.deliver({"type": "identify", "userId": "u"})
        request = vendor.requests[0]
    kinds = ["delivered", "rate_limited", "bad_event", "bad_credentials", "bad_event"]
    assert [outcome.kind for outcome in told] == kinds
    assert (request.method, request.json) == ("PUT", {"email": "ada@example.com"})


async def test_the_shop_makes_an_event_and_an_object_of_a_signed_order(tmp_path: Path) -> None:
    unpack(tmp_path)
    setup = FunctionSetup(
        file=str(tmp_path / "functions/shop.py"), settings={"secret": "s3cret"}, timeout=30.0
    )
    around = Surroundings(FunctionsDb(tmp_path / "functions.db"), FakeClock(), KeptLog().log)
    host = Host("source shop", "source", setup, around)
    try:

        async def call(order: dict[str, object], secret: bytes = b"s3cret") -> Called:
            body = json.dumps(order).encode()
            headers = {"x-signature": hmac.new(secret, body, hashlib.sha256).hexdigest()}
            (result,) = await host.call(
                [encoded(Webhook("http://x/v1/fn/shop", headers, body))], lambda _: ""
            )
            return result.ended, [json.loads(bytes(text)) for text in result.emitted]

        order = {"kind": "paid", "id": "o1", "customer": "c1", "total": 9.5}
        ended, (event, record) = await call(order)
        assert ended == "done"
        assert (event["messageId"], event["properties"]["total"]) == ("order-o1", 9.5)
        assert (record["type"], record["collection"], record["id"]) == ("set", "orders", "o1")
        assert (await call({**order, "kind": "refund"}))[0] == "unsupported"
        assert (await call(order, b"wrong"))[0] == "rejected"
    finally:
        await host.close()


def encoded(webhook: Webhook) -> Raw:
    return Raw(msgspec.json.encode(webhook))


def test_every_error_class_is_in_the_table() -> None:
    for name in vars(errors):
        if isinstance(getattr(errors, name), type):
            assert f"`{name}`" in README
            assert name in functions.__all__
