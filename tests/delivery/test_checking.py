"""Tests of connections as delivery runs them: whatever a destination does there is told, and no secret is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import structlog

from cdpd import discovery
from cdpd.clock import SystemClock
from cdpd.delivery.checking import check_destination
from cdpd.delivery.making import Made, Maker
from cdpd.destinations.actions import (
    ActionDestination,
    Checked,
    ConnectionTest,
    InvalidAuthenticationError,
    Problem,
    Rule,
    Table,
)
from cdpd.destinations.contract import Destination, DestinationConfig
from cdpd.secret import Secret
from cdpd.testing import Reply, run_check


class Raises(Destination):
    name = "Raises"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        token: Secret = Secret("s3cret-token")

    raised: Any = None
    stopped = 0

    async def check(self) -> Checked:
        raise self.raised

    async def stop(self) -> None:
        type(self).stopped += 1


async def found(kind: type[Destination], tmp_path: Path) -> Checked:
    maker = Maker(discovery, tmp_path, SystemClock(), structlog.get_logger())
    return (await check_destination("it", Made(kind, kind.Config()), maker)).found


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused (ECONNREFUSED)"),
        (TimeoutError(), "no answer in time"),
        (KeyError("s3cret-token"), "the destination itself failed: KeyError: '•••'"),
        (SystemExit(3), "the destination itself failed: SystemExit: 3"),
    ],
)
async def test_what_a_test_raises_is_what_it_found(tmp_path: Path, error: BaseException, said: str) -> None:
    before = Raises.stopped
    Raises.raised = error
    checked = await found(Raises, tmp_path)
    assert checked.state == "failed"
    assert said in checked.text
    assert Raises.stopped == before + 1


async def test_a_destination_that_cannot_start_has_failed(tmp_path: Path) -> None:
    class Broken(Raises):
        async def start(self) -> None:
            raise RuntimeError("no s3cret-token here")

    assert (await found(Broken, tmp_path)).text == "the destination itself failed: RuntimeError: no ••• here"


async def test_without_a_test_it_is_unknown(tmp_path: Path) -> None:
    class Plain(Destination):
        name = "Plain"

    assert (await found(Plain, tmp_path)).state == "unknown"
    assert not Plain.can_check()
    assert Raises.can_check()


class Asks(ActionDestination):
    name = "Asks"
    answers = Table({404: Rule("bad_config", "is the region right?")})
    connection = ConnectionTest(lambda to: to.call("GET", "https://vendor.example/me"), ok="all is well")

    @classmethod
    def problems(cls, _: Any) -> Iterable[Problem]:
        return ()  # nothing is sent by it, which would be one


@pytest.mark.parametrize(
    ("reply", "state", "said"),
    [
        (Reply(204), "ok", "all is well"),
        (Reply(401), "failed", "check the credentials"),
        (Reply(404), "failed", "is the region right?"),
        (Reply(503), "failed", "it answered 503"),
        (Reply(429), "unknown", "it asks to slow down"),
        (Reply(instead="reset"), "failed", "ECONNRESET"),
        (Reply(instead="hang"), "failed", "no answer in time"),
    ],
)
async def test_an_answer_means_what_it_means_for_events(reply: Reply, state: str, said: str) -> None:
    told, requests = await run_check(Asks, replies=[reply])
    assert told.state == state
    assert said in told.text
    assert [request["method"] for request in requests] == ["GET"]


async def test_an_author_may_raise_what_an_action_may(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(to: Any) -> Checked:
        raise InvalidAuthenticationError("no token")

    monkeypatch.setattr(Asks, "connection", ConnectionTest(ask))
    told, _ = await run_check(Asks)
    assert (told.state, told.text) == ("failed", "no token; check the credentials")
