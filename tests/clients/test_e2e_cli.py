"""The public e2e-cli contract of Segment's SDKs (wire.md §11), its suites as we understand them: their own are private.

What is stored is compared with the input under the ignore list of the public comparer (wire.md §10).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from tests.clients.proxy import RESET_AFTER, Delay, Fault, Proxy, proxy
from tests.clients.six_calls import HERE, KEY, run
from tests.running import RunningDaemon, running
from tests.services import node_modules, program

Json = dict[str, Any]

_IGNORED = {
    "messageId",
    "timestamp",
    "receivedAt",
    "sentAt",
    "originalTimestamp",
    "channel",
    "version",
    "projectId",
    "writeKey",
    "_metadata",
}


class Bench(Struct, frozen=True):
    """A daemon behind a proxy, and the CLI to send to it."""

    daemon: RunningDaemon
    between: Proxy

    async def cli(
        self, *sequences: Json, ends_with: int = 0, config: Json | None = None, **more: Any
    ) -> Json:
        """What the CLI printed. Its requests go to the proxy unless `more` says otherwise."""
        given = {
            "writeKey": KEY,
            "apiHost": self.between.url,
            "sequences": sequences,
            "config": config or {},
            **more,
        }
        return await driver("--input", json.dumps(given), ends_with=ends_with)

    async def assert_stored(self, *sequences: Json) -> None:
        """What the sequences hold is stored, each event once, and nothing else."""
        sent = [plain(event) for sequence in sequences for event in sequence["events"]]
        stored = [plain(event) for event in await self.daemon.wait_for("events", len(sent))]
        assert sorted(stored, key=json.dumps) == sorted(sent, key=json.dumps)


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with proxy("") as between:
        config = f'[http]\npublic_url = "{between.url}"\n[sources.website]\nwrite_keys = ["{KEY}"]\n'
        async with running(folder, config) as daemon:
            between.target = daemon.url
            yield Bench(daemon, between)


async def driver(*arguments: str, ends_with: int) -> Json:
    command = [program("node"), str(HERE / "e2e_cli.mjs"), str(node_modules()), *arguments]
    return await run(command, ends_with=ends_with)


def plain(event: Json) -> Json:
    """An event without what the comparer ignores; keys in one order."""
    context = {key: value for key, value in (event.get("context") or {}).items() if key != "library"}
    kept = {**{key: value for key, value in event.items() if key not in _IGNORED}, "context": context}
    found: Json = json.loads(json.dumps(_without_empty(kept), sort_keys=True))
    return found


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {key: _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in inner.items() if each != {}}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value


def sequence(*events: Json, delay_ms: int = 0) -> Json:
    return {"delayMs": delay_ms, "events": list(events)}


def tracks(*names: str) -> Json:
    """One track call for each name."""
    return sequence(*({"type": "track", "userId": "u1", "event": name} for name in names))


# The SDK copies a page's category into its properties; here it is there already.
SIX = sequence(
    {
        "type": "identify",
        "userId": "u1",
        "traits": {"email": "ada@example.com", "plan": {"name": "pro", "seats": 3}},
    },
    {
        "type": "track",
        "userId": "u1",
        "anonymousId": "a1",
        "event": "Order Completed",
        "properties": {
            "revenue": 12.5,
            "big": 9007199254740991,
            "products": [{"sku": "a"}],
            "no": None,
            "ü": "ß\u2028",
        },
        "context": {"locale": "en-GB", "device": {"id": "d1"}},
        "integrations": {"All": True, "Amplitude": {"session_id": 7}},
    },
    {
        "type": "page",
        "userId": "u1",
        "category": "Docs",
        "name": "Node",
        "properties": {"url": "https://example.com/", "category": "Docs"},
    },
    {"type": "screen", "anonymousId": "a1", "name": "Settings", "properties": {"dark": True}},
    {"type": "group", "userId": "u1", "groupId": "g1", "traits": {"name": "ACME"}},
    {"type": "alias", "userId": "u1", "previousId": "a1"},
)


# -- basic -------------------------------------------------------------------------------------------------------


async def test_basic_every_type_arrives_as_it_was_given(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        assert await here.cli(SIX) == {"success": True, "sentBatches": 1}
        await here.assert_stored(SIX)


async def test_basic_ids_and_times_that_are_given_are_kept(tmp_path: Path) -> None:
    given = {
        "type": "track",
        "userId": "u1",
        "event": "Old",
        "messageId": "m-1",
        "timestamp": "2019-03-04T05:06:07.089Z",
    }
    async with bench(tmp_path) as here:
        assert (await here.cli(sequence(given)))["success"]
        (stored,) = await here.daemon.wait_for("events", 1)
        assert stored["messageId"] == "m-1"
        assert stored["originalTimestamp"] == "2019-03-04T05:06:07.089Z"


async def test_basic_an_event_that_is_sent_twice_is_stored_once(tmp_path: Path) -> None:
    twice = {"type": "track", "userId": "u1", "event": "Once", "messageId": "m-1"}
    async with bench(tmp_path) as here:
        assert (await here.cli(sequence(twice), sequence(twice), config={"flushAt": 1}))["sentBatches"] == 2
        (line,) = await here.daemon.wait_for("discarded", 1)
        assert line["code"] == "duplicate"
        await here.assert_stored(sequence(twice))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "--input is missing"),
        (
            ["--input", json.dumps({"writeKey": KEY, "sequences": [sequence({"type": "bid"})]})],
            "no such type: bid",
        ),
    ],
    ids=["no input", "unknown type"],
)
async def test_basic_a_wrong_input_is_an_error_of_the_driver(arguments: list[str], error: str) -> None:
    assert await driver(*arguments, ends_with=1) == {"success": False, "error": error, "sentBatches": 0}


# -- settings ----------------------------------------------------------------------------------------------------


async def test_settings_batches_are_as_large_as_is_configured(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        assert await here.cli(SIX, config={"flushAt": 4}) == {"success": True, "sentBatches": 2}
        assert sorted(len(request.events()) for request in here.between.posts()) == [2, 4]
        await here.assert_stored(SIX)


async def test_settings_a_batch_goes_when_its_interval_has_passed(tmp_path: Path) -> None:
    first, later = tracks("A"), {**tracks("B"), "delayMs": 500}
    async with bench(tmp_path) as here:
        assert (await here.cli(first, later, config={"flushInterval": 20}))["sentBatches"] == 2
        await here.assert_stored(first, later)


async def test_settings_the_document_of_the_daemon_names_the_host_to_send_to(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        done = await here.cli(SIX, apiHost=None, cdnHost=f"{here.between.url}/v1")
        assert done == {"success": True, "sentBatches": 1}
        await here.assert_stored(SIX)


async def test_settings_of_an_unknown_key_are_an_error_and_nothing_is_sent(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        done = await here.cli(SIX, ends_with=1, writeKey="wk_of_nobody", cdnHost=f"{here.between.url}/v1")
        assert done == {"success": False, "error": "settings: 404", "sentBatches": 0}
        assert here.between.posts() == []


# -- retry -------------------------------------------------------------------------------------------------------

RETRIED = (408, 410, 429, 460, 500, 502, 503, 504)
FINAL = (400, 401, 403, 404, 413, 422, 501, 505, 511)


async def test_retry_what_is_retried_arrives_once(tmp_path: Path) -> None:
    sent = tracks(*(f"After {status}" for status in RETRIED))
    async with bench(tmp_path) as here:
        here.between.faults.extend(Fault(status=status) for status in RETRIED)
        assert await here.cli(sent, config={"flushAt": 1}) == {"success": True, "sentBatches": len(RETRIED)}
        assert sorted(here.between.answers()) == sorted([*RETRIED, *[200] * len(RETRIED)])
        await here.assert_stored(sent)


async def test_retry_what_is_final_is_sent_once_and_the_rest_arrives(tmp_path: Path) -> None:
    sent = tracks(*(f"After {status}" for status in FINAL))
    rest = {**tracks("The rest"), "delayMs": 500}
    async with bench(tmp_path) as here:
        here.between.faults.extend(Fault(status=status) for status in FINAL)
        done = await here.cli(sent, rest, config={"flushAt": 1}, ends_with=1)
        assert done["sentBatches"] == 1
        assert here.between.answers() == [*FINAL, 200]
        await here.assert_stored(rest)


async def test_retry_goes_on_through_whatever_comes(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        too_many = Fault(status=429, headers={"Retry-After": "1"})
        here.between.faults.extend([too_many, RESET_AFTER])
        assert await here.cli(SIX) == {"success": True, "sentBatches": 1}
        assert here.between.answers() == [429, 0, 200]
        discarded = await here.daemon.wait_for("discarded", 6)
        assert {line["code"] for line in discarded} == {"duplicate"}
        await here.assert_stored(SIX)


async def test_retry_after_an_answer_that_came_too_late(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        here.between.faults.append(Delay())
        assert await here.cli(SIX, config={"timeout": 1}) == {"success": True, "sentBatches": 1}
        discarded = await here.daemon.wait_for("discarded", 6)
        assert {line["code"] for line in discarded} == {"duplicate"}
        await here.assert_stored(SIX)


# -- retry-settings ----------------------------------------------------------------------------------------------


async def test_retry_settings_no_more_retries_than_allowed(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        here.between.faults.extend([Fault(status=500), Fault(status=503)])
        done = await here.cli(SIX, config={"maxRetries": 1}, ends_with=1)
        assert not done["success"]
        assert "503" in done["error"]
        assert here.between.answers() == [500, 503]
        assert here.daemon.lines("received") == []


async def test_retry_settings_waiting_as_told_is_no_retry(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        here.between.faults.append(Fault(status=429, headers={"Retry-After": "1"}))
        assert (await here.cli(SIX, config={"maxRetries": 0}))["success"]
        await here.assert_stored(SIX)
