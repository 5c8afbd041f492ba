"""Tokens: how long they are good, what ends them, and what a restart keeps."""

from __future__ import annotations

import hashlib
import sqlite3
import stat
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cdpd.config.model import Config
from cdpd.config.problem import ConfigError
from cdpd.oauth import server as server_module
from cdpd.oauth.token import digest, new_token, token_id

from .conftest import Rig, app, config
from .keys import claims, form, signed


def fresh(rig: Rig, **changed: object) -> bytes:
    """A request as an SDK makes it now."""
    return form(signed(claims(rig.clock.now_ms() / 1000, **changed)))


async def test_a_token_is_good_until_its_lifetime_is_over(rig: Rig) -> None:
    await rig.apply(config(billing=app(token_lifetime="2d")))
    answer = await rig.ask()
    assert answer.document["expires_in"] == 2 * 86400
    token = answer.document["access_token"]
    await rig.clock.advance(2 * 86400 - 0.001)
    assert rig.good(token)
    await rig.clock.advance(0.001)
    assert not rig.good(token)
    assert rig.server.tokens() == []


async def test_a_changed_lifetime_holds_for_new_tokens(rig: Rig) -> None:
    old = await rig.get()
    await rig.apply(config(billing=app(token_lifetime="1m")))
    new = await rig.get()
    await rig.clock.advance(60)
    assert (rig.good(old), rig.good(new)) == (True, False)


@pytest.mark.parametrize(
    "text", ["", "cdp_at_", "x" * 50, "cdp_at_" + "A" * 43, "cdp_at_" + "é" * 43, "cdp_at_\udcff" + "A" * 42]
)
async def test_what_was_never_issued_is_good_for_nothing(rig: Rig, text: str) -> None:
    await rig.get()
    assert rig.server.grant(text) is None


async def test_a_token_is_no_other_token_and_is_stored_as_its_hash_alone(rig: Rig) -> None:
    tokens = [await rig.get() for _ in range(3)]
    assert len(set(tokens)) == 3
    stored = b"".join(path.read_bytes() for path in rig.path.parent.iterdir())
    for token in tokens:
        assert token.encode() not in stored
        assert token[7:].encode() not in stored
        assert hashlib.sha256(token.encode()).digest() in stored


def test_the_id_of_a_token_is_found_from_the_token_but_is_not_the_token() -> None:
    token = new_token()
    known = token_id(token)
    assert known == hashlib.sha256(token.encode()).hexdigest()[:16]
    assert token_id(f" {token}\n") == known
    assert token_id(known.upper()) == known
    assert digest(known) is None


async def test_the_file_is_its_owners_alone(rig: Rig) -> None:
    await rig.get()
    assert {path.name for path in rig.path.parent.iterdir()} == {"oauth.db", "oauth.db-wal", "oauth.db-shm"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in rig.path.parent.iterdir()} == {0o600}


async def test_without_apps_there_is_no_file_and_nobody_gets_a_token(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.apply(Config())
    assert (await rig.ask()).status == 401
    assert rig.server.grant(new_token()) is None
    assert rig.server.tokens() == []
    await rig.server.revoke([])
    assert not rig.path.exists()
    await rig.apply(config())
    assert rig.good(await rig.get())
    rig.server.close()


def copied(folder: Path) -> Path:
    """What `kill -9` at this moment leaves behind."""
    (folder / "copy").mkdir()
    for path in list(folder.glob("oauth.db*")):
        (folder / "copy" / path.name).write_bytes(path.read_bytes())
    return folder / "copy"


# -- a restart -------------------------------------------------------------------------------------------------


async def test_a_restart_keeps_tokens_revocations_and_used_assertions(rig: Rig) -> None:
    assertion = signed()
    good, revoked = await rig.get(form(assertion)), await rig.get()
    await rig.server.revoke([token for token, _ in rig.server.tokens() if token.id == token_id(revoked)])
    await rig.restart()
    assert (rig.good(good), rig.good(revoked)) == (True, False)
    states = {token.id: state for token, state in rig.server.tokens()}
    assert states == {token_id(good): "good", token_id(revoked): "revoked"}
    assert "used before" in (await rig.ask(form(assertion))).document["error_description"]


async def test_a_token_is_durable_before_it_is_answered(rig: Rig, tmp_path: Path) -> None:
    assertion = signed()
    token = await rig.get(form(assertion))
    after = Rig(copied(tmp_path))
    await after.apply(config())
    assert after.good(token)
    assert (await after.ask(form(assertion))).status == 401
    after.server.close()


async def test_expired_tokens_and_assertions_leave_the_file(rig: Rig) -> None:
    await rig.apply(config(billing=app(token_lifetime="5m")))
    await rig.get()
    await rig.clock.advance(301)
    await rig.get(fresh(rig))
    with sqlite3.connect(rig.path) as db:
        assert db.execute("select count(*) from tokens").fetchone() == (1,)
        assert db.execute("select count(*) from assertions").fetchone() == (1,)
    assert len(rig.server.tokens()) == 1


# -- changes of the configuration ----------------------------------------------------------------------------


async def test_tokens_of_an_app_that_is_taken_out_stop_working_at_once(rig: Rig) -> None:
    await rig.apply(config(billing=app(), crm=app()))
    billing, crm = await rig.get(), await rig.get(form(signed(claims(sub="crm"))))
    await rig.apply(config(crm=app()))
    assert (rig.good(billing), rig.good(crm)) == (False, True)
    assert (await rig.ask()).status == 401
    assert [state for _, state in rig.server.tokens()] == ["app not configured", "good"]
    await rig.restart(config(crm=app()))
    assert not rig.good(billing)


async def test_tokens_that_a_key_got_end_with_it_and_not_with_its_name(rig: Rig) -> None:
    await rig.apply(config(billing=app("old", "new")))
    old = await rig.get(form(signed(key="old", kid="k1")))
    new = await rig.get(form(signed(key="new", kid="k2")))
    await rig.apply(config(billing=app("new")))  # now called k1
    assert (rig.good(old), rig.good(new)) == (False, True)
    assert [state for _, state in rig.server.tokens()] == ["key not configured", "good"]
    await rig.apply(config(billing=app("old", "new")))
    assert rig.good(old)


async def test_a_scope_that_an_app_loses_is_lost_to_its_tokens(rig: Rig) -> None:
    await rig.apply(config(billing=app(scopes=["tracking_api:write", "functions:write"])))
    token = await rig.get(form(scope=None))
    await rig.apply(config())
    grant = rig.server.grant(token)
    assert grant is not None
    assert grant.scopes == {"tracking_api:write"}


async def test_a_key_that_cannot_be_read_refuses_the_configuration_and_changes_nothing(rig: Rig) -> None:
    token = await rig.get()
    wrong = config()
    wrong.oauth["billing"].keys[0] = type(wrong.oauth["billing"].keys[0])(kid="k1", file="/nowhere.pem")
    with pytest.raises(
        ConfigError, match=r"oauth.billing.keys\[0\]: /nowhere.pem cannot be read: no such file"
    ):
        await rig.server.read(wrong)
    assert rig.good(token)


# -- too much ------------------------------------------------------------------------------------------------


async def test_an_app_that_asks_too_often_waits_and_others_do_not(rig: Rig) -> None:
    await rig.apply(config(billing=app(), crm=app()))
    for _ in range(600):
        assert (await rig.ask(form(signed(claims(aud="other"))))).status == 401  # signed, so it counts
    answer = await rig.ask()
    assert (answer.status, answer.retry_after) == (429, 1)
    assert answer.document["error"] == "temporarily_unavailable"
    assert "of the app billing" in answer.document["error_description"]
    await rig.get(form(signed(claims(sub="crm"))))
    await rig.clock.advance(1)
    await rig.get()


async def test_who_cannot_sign_does_not_shut_an_app_out(rig: Rig) -> None:
    forged = form(signed(key="stranger"))
    for _ in range(700):
        assert (await rig.ask(forged)).status == 401
    await rig.get()


async def test_everybody_together_is_limited(rig: Rig) -> None:
    for _ in range(6000):
        assert (await rig.ask(b"")).status == 400
    answer = await rig.ask(b"")
    assert (answer.status, answer.retry_after) == (429, 1)
    await rig.clock.advance(0.01)
    await rig.get()


async def test_a_new_token_takes_the_place_of_an_apps_oldest(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_TOKENS", 3)
    await rig.apply(config(billing=app(), crm=app()))
    other = await rig.get(form(signed(claims(sub="crm"))))
    tokens = [await rig.get() for _ in range(5)]
    wanted = [False, False, True, True, True]
    assert [rig.good(token) for token in tokens] == wanted
    assert [entry["level"] for entry in rig.said if "more tokens than are kept" in entry["event"]] == [
        "warning"
    ] * 2
    await rig.restart(config(billing=app(), crm=app()))
    assert [rig.good(token) for token in tokens] == wanted
    assert rig.good(other)


async def test_of_requests_at_once_with_one_assertion_one_gets_a_token(rig: Rig) -> None:
    body = form(signed())
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await rig.ask(body)).status)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(ask)
    assert sorted(statuses) == [200] + [401] * 9


# -- faults of the file ----------------------------------------------------------------------------------------


async def test_a_token_that_cannot_be_stored_is_not_issued_and_may_be_asked_for_again(rig: Rig) -> None:
    body = form(signed())
    with sqlite3.connect(rig.path) as other:
        other.execute(
            "create trigger full before insert on tokens begin select raise(abort, 'disk full'); end"
        )
    answer = await rig.ask(body)
    assert (answer.status, answer.retry_after) == (503, 10)
    assert answer.document["error"] == "temporarily_unavailable"
    assert rig.server.tokens() == []
    with sqlite3.connect(rig.path) as other:
        other.execute("drop trigger full")
    await rig.get(body)


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
async def test_a_file_that_is_none_of_ours_refuses_the_configuration(
    tmp_path: Path, content: bytes | None
) -> None:
    rig = Rig(tmp_path)
    if content is not None:
        rig.path.write_bytes(content)
    else:
        with sqlite3.connect(rig.path) as db:
            db.execute("pragma user_version = 99")
    said = "move it away: then every app asks for a new token" if content else "newer cdpd"
    with pytest.raises(ConfigError, match=said):
        await rig.apply(config())
    assert not rig.good(new_token())


async def test_an_app_that_goes_away_while_its_token_is_stored_breaks_nothing(rig: Rig) -> None:
    assertion = signed()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.get, form(assertion))
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert (await rig.ask(form(assertion))).status == 401
    await rig.get()
    await rig.restart()
    assert len(rig.server.tokens()) == 2
