"""The kit for authors of destinations: outcomes as delivery sees them, and a vendor that does what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from cdpd.config.problem import ConfigError
from cdpd.destinations.answers import outcome_of
from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationConfig
from cdpd.destinations.exchange import send
from cdpd.destinations.outcome import (
    BadCredentials,
    BadEvent,
    Delivered,
    Outcome,
    RateLimited,
    Skipped,
    TryAgain,
)
from cdpd.secret import HIDDEN, Secret
from cdpd.testing import HANG, RESET, FakeClock, Reply, running_destination, running_vendor


class Crm(Destination):
    """Sends each batch as an array."""

    name = "Crm"
    supports: ClassVar[frozenset[str]] = frozenset({"track", "identify"})
    limits = BatchLimits(max_events=2)

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        url: str
        token: Secret = Secret("")

    async def start(self) -> None:
        self.env.log.info("started")

    async def stop(self) -> None:
        self.env.log.info("stopped")

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        body = b"[" + b",".join(event.line() for event in batch.events) + b"]"
        headers = {
            "Authorization": f"Bearer {self.config.token.reveal()}",
            "X-Attempt": str(batch.attempt),
            "X-Options": msgspec.json.encode([event.options.plain() for event in batch.events]).decode(),
        }
        answer = await send(self.env.http, "POST", self.config.url, data=body, headers=headers)
        outcome = outcome_of(answer, self.env.clock.now_ms(), body.decode())
        return [outcome] * len(batch.events)


async def test_events_are_delivered_in_batches_within_the_limits() -> None:
    async with running_vendor() as vendor, running_destination(Crm, {"url": f"{vendor.url}/in?x=1"}) as crm:
        assert await crm.deliver({"event": "A"}, {}, {"type": "identify"}, attempt=3) == [Delivered(200)] * 3
        assert [len(request.events) for request in vendor.requests] == [2, 1]
        first = vendor.requests[0]
        assert (first.method, first.path, first.headers["x-attempt"]) == ("POST", "/in?x=1", "3")
        assert first.json[0]["event"] == "A"
        assert vendor.took == vendor.got == ["m1", "m2", "m3"]
        assert crm.log.texts("info") == ["started"]
    assert crm.log.texts("info") == ["started", "stopped"]


async def test_a_configured_batch_may_be_smaller_than_the_destinations() -> None:
    async with (
        running_vendor() as vendor,
        running_destination(Crm, {"url": vendor.url, "batch": {"max_events": 1}}) as crm,
    ):
        await crm.deliver({}, {})
        assert [len(request.events) for request in vendor.requests] == [1, 1]
    large = {"url": vendor.url, "batch": {"max_bytes": 300}}
    async with running_vendor() as vendor, running_destination(Crm, {**large, "url": vendor.url}) as crm:
        await crm.deliver({"properties": {"text": "x" * 200}}, {})
        assert [len(request.events) for request in vendor.requests] == [1, 1]


async def test_events_that_would_not_get_here_are_skipped() -> None:
    async with (
        running_vendor() as vendor,
        running_destination(Crm, {"url": vendor.url, "sources": ["website"]}) as crm,
    ):
        outcomes = await crm.deliver(
            {"type": "page"},
            {"integrations": {"Crm": False}},
            {"projectId": "app"},
            {"integrations": {"Crm": {"list": 7}}},
        )
        assert outcomes == [
            Skipped("UNSUPPORTED_EVENT_TYPE"),
            Skipped("FILTERED_BY_INTEGRATIONS_OBJECT"),
            Skipped("SOURCE_NOT_CONNECTED"),
            Delivered(200),
        ]
        assert vendor.requests[0].headers["X-Options"] == '[{"list":7}]'


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(429, {"Retry-After": "7"}), RateLimited),
        (Reply(503), TryAgain),
        (RESET, TryAgain),
        (Reply(401), BadCredentials),
        (Reply(422, body=b'{"error": "no plan"}'), BadEvent),
        (Reply(413), BadEvent),
    ],
    ids=["busy", "down", "reset", "unauthorised", "refused", "too large"],
)
async def test_answers_become_outcomes(reply: Reply, kind: type[Outcome]) -> None:
    async with running_vendor() as vendor, running_destination(Crm, {"url": vendor.url}) as crm:
        vendor.replies(reply)
        (outcome,) = await crm.deliver({})
    assert isinstance(outcome, kind)
    if isinstance(outcome, RateLimited):
        assert outcome.after == 7


async def test_a_batch_that_is_too_large_is_halved() -> None:
    async with running_vendor() as vendor, running_destination(Crm, {"url": vendor.url}) as crm:
        vendor.replies(413)
        assert await crm.deliver({}, {}) == [Delivered(200)] * 2
        assert [len(request.events) for request in vendor.requests] == [2, 1, 1]


async def test_a_vendor_that_does_not_answer_is_a_time_out() -> None:
    async with (
        running_vendor() as vendor,
        running_destination(Crm, {"url": vendor.url, "timeout": 0.05}) as crm,
    ):
        vendor.replies(HANG)
        (outcome,) = await crm.deliver({})
    assert outcome == TryAgain("no answer in time (ETIMEDOUT)", code="ETIMEDOUT")


async def test_a_secret_in_an_outcome_is_masked() -> None:
    async with (
        running_vendor() as vendor,
        running_destination(Crm, {"url": vendor.url, "token": "hush-hush"}) as crm,
    ):
        vendor.replies(Reply(400, body=b"wrong token hush-hush"))
        (outcome,) = await crm.deliver({})
    assert isinstance(outcome, BadEvent)
    assert "hush-hush" not in repr(outcome)
    assert HIDDEN in outcome.reason


async def test_a_fault_of_the_destination_fails_the_test_with_its_traceback() -> None:
    class Broken(Crm):
        async def deliver(self, batch: Batch) -> Sequence[Outcome]:
            if batch.events[0].event == "miscount":
                return []
            raise KeyError("plan")

    async with running_destination(Broken, {"url": "http://127.0.0.1:9"}) as crm:
        with pytest.raises(AssertionError, match="raise KeyError"):
            await crm.deliver({})
        with pytest.raises(AssertionError, match="it must return one Outcome an event"):
            await crm.deliver({"event": "miscount"})


async def test_wrong_options_are_refused_in_the_words_of_check() -> None:
    with pytest.raises(ConfigError, match='ulr: unknown key; did you mean "url"'):
        async with running_destination(Crm, {"ulr": "x"}):
            pass
    with pytest.raises(ConfigError, match="token: the environment variable CDPD_NOT_SET is not set"):
        async with running_destination(Crm, {"url": "x", "token": {"env": "CDPD_NOT_SET"}}):
            pass


async def test_time_and_state_are_the_tests(tmp_path: Path) -> None:
    clock = FakeClock(5_000)
    async with running_destination(Crm, {"url": "x"}, clock=clock, state_dir=tmp_path) as crm:
        env: Any = crm.destination.env
        assert (env.clock.now_ms(), env.state_dir) == (5_000, tmp_path)
    async with running_destination(Crm, {"url": "x"}) as crm:
        env = crm.destination.env
        assert env.state_dir.is_dir()
    assert not env.state_dir.exists()


async def test_a_vendor_takes_bodies_that_are_no_json() -> None:
    async with running_vendor() as vendor, running_destination(Crm, {"url": vendor.url}) as crm:
        env: Any = crm.destination.env
        async with env.http.post(vendor.url, data={"a": "b"}) as answer:
            assert answer.status == 200
        assert vendor.requests[0].body == b"a=b"
        assert vendor.got == vendor.took == []
        with pytest.raises(ValueError, match="Expecting value"):
            vendor.requests[0].json  # noqa: B018 - that it raises
