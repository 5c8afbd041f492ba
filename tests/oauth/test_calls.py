"""The control calls for tokens, over the real socket, and the commands that ask for them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio.to_thread
import pytest

from cdpd.cli import main
from cdpd.control.server import serve_control
from cdpd.oauth.calls import token_calls
from cdpd.oauth.token import token_id
from tests.control.test_control import FakeDaemon

from .conftest import Rig, app, config
from .keys import claims, form, signed


class Asked:
    """Runs commands against the rig's server."""

    def __init__(self, rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
        self.rig = rig
        self.capsys = capsys

    async def __call__(self, *arguments: str) -> tuple[int, str]:
        """(exit code, what was said)."""
        folder = self.rig.path.parent
        calls = token_calls(self.rig.server)
        async with serve_control(folder / "control.sock", FakeDaemon(), self.rig.log, calls):
            line = ["tokens", *arguments, "--data-dir", str(folder)]
            code = await anyio.to_thread.run_sync(main, line)
        out, err = self.capsys.readouterr()
        return code, out + err


@pytest.fixture
def ask(
    rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Asked:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Asked(rig, capsys)


async def test_ls_shows_each_token_and_whether_it_is_good(rig: Rig, ask: Asked) -> None:
    await rig.apply(config(billing=app(), crm=app()))
    first = token_id(await rig.get())
    await rig.clock.advance(5)
    second = token_id(await rig.get(form(signed(claims(sub="crm")))))
    await rig.apply(config())
    code, out = await ask("ls")
    assert code == 0
    assert out.splitlines() == [
        "id                app      scopes              issued               expires              state",
        f"{first}  billing  tracking_api:write  2023-11-14 22:13:20  2023-11-15 22:13:20  good",
        f"{second}  crm      tracking_api:write  2023-11-14 22:13:25  2023-11-15 22:13:25  app not configured",
    ]
    _, out = await ask("ls", "crm", "--json")
    assert f'"id":"{second}"' in out
    assert first not in out
    assert (await ask("ls", "none")) == (0, "there is no token of the app 'none'\n")


async def test_ls_says_where_there_is_none(rig: Rig, ask: Asked) -> None:
    assert await ask("ls") == (0, "there is no token\n")


async def test_revoke_ends_the_tokens_that_are_named_or_given(rig: Rig, ask: Asked) -> None:
    tokens = [await rig.get() for _ in range(3)]
    assert await ask("revoke", token_id(tokens[0]), tokens[1], tokens[1]) == (0, "2 tokens revoked\n")
    assert [rig.good(token) for token in tokens] == [False, False, True]
    assert await ask("revoke", tokens[0]) == (0, "1 token had been revoked before\n")
    await rig.restart()
    assert [rig.good(token) for token in tokens] == [False, False, True]


async def test_an_unknown_id_revokes_nothing(rig: Rig, ask: Asked) -> None:
    token = await rig.get()
    code, said = await ask("revoke", token, "0123456789abcdef")
    assert code == 1
    assert "there is no token 0123456789abcdef" in said
    assert rig.good(token)


async def test_a_revocation_that_cannot_be_stored_holds_for_now_and_says_so(rig: Rig, ask: Asked) -> None:
    token = await rig.get()
    with sqlite3.connect(rig.path) as other:
        other.execute(
            "create trigger full before update on tokens begin select raise(abort, 'disk full'); end"
        )
    code, said = await ask("revoke", token)
    assert code == 1
    assert "revoked until the next start only: " in said
    assert "disk full" in said
    assert not rig.good(token)
    with sqlite3.connect(rig.path) as other:
        other.execute("drop trigger full")
    assert (await ask("revoke", token))[0] == 0
    await rig.restart()
    assert not rig.good(token)
