"""Source functions: what they emit is durable before the answer, and a webhook that has to wait is not lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from cdpd.config.functions import FunctionSetup
from cdpd.config.model import Config, SourceConfig
from cdpd.functions.host import Surroundings
from cdpd.functions.kept import FunctionsDb
from cdpd.functions.source import LOOK, MOST_TRIES, SourceFunctions
from cdpd.ingest.refusal import Refused
from cdpd.ingest.settings import IngestSettings
from cdpd.log.errors import AppendFailed
from cdpd.metrics import Metrics
from cdpd.testing.log import KeptLog
from tests.clock import FakeClock
from tests.functions.hosting import LONG, SHORT, written

CHARGE = """
    def on_request(request, settings):
        body = request.json()
        if body.get("raise"):
            raise eval(body["raise"])
        Segment.track(event="Charged", userId=body["customer"], properties={"amount": body["amount"]})
        Segment.identify({"userId": body["customer"], "messageId": "own"})
"""
BODY = {"customer": "c1", "amount": 5}
HEADERS = {"content-type": "application/json"}
VIA = b'{"path":"/v1/fn"}'


class Daemon:
    """What a source function has around it; the log remembers."""

    def __init__(self, folder: Path, file: str, timeout: float) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.lines: list[dict[str, Any]] = []
        self.fails = False
        self.log = KeptLog()
        self.db = FunctionsDb(folder / "functions.db")
        setup = FunctionSetup(file=file, timeout=timeout)
        self.config = Config(sources={"stripe": SourceConfig(write_keys=["key"], function=setup)})
        self.settings = IngestSettings.of(self.config, 1)
        self.functions = SourceFunctions(
            append=self.append,
            settings=lambda: self.settings,
            around=Surroundings(self.db, self.clock, self.log.log),
            metrics=self.metrics,
            random=lambda: 0.0,
        )

    async def append(self, lines: Sequence[bytes], config_id: int) -> object:
        if self.fails:
            raise AppendFailed("full")
        self.lines += map(json.loads, lines)
        return None

    async def take(self, body: object = BODY) -> None:
        source = self.settings.sources["key"]
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.functions.take(source, "http://x/v1/fn/stripe", HEADERS, data, VIA, self.settings)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [line["event"] for line in self.lines]

    async def until(self, holds: Callable[[], object], longest: float = 100_000.0) -> None:
        """Let time pass, from one look for waiting webhooks to the next, until it holds; none while a call runs."""
        begun = self.clock.elapsed
        with anyio.fail_after(60):
            while not holds():
                assert self.clock.elapsed - begun < longest
                await anyio.sleep(0.002)
                if self.clock.next_wake is not None and self.clock.next_wake <= LOOK and not holds():
                    await self.clock.advance(self.clock.next_wake)


@asynccontextmanager
async def daemon(folder: Path, text: str = CHARGE, limit: float = LONG) -> AsyncIterator[Daemon]:
    made = Daemon(folder, written(folder / "stripe.py", text), limit)
    await made.functions.apply(made.config)
    try:
        yield made
    finally:
        await made.functions.close()


async def test_what_a_function_emits_are_events_as_if_they_had_been_sent(tmp_path: Path) -> None:
    async with daemon(tmp_path) as made:
        await made.take()
    first, second = made.lines
    assert first["source"] == "stripe"
    assert first["via"] == {"path": "/v1/fn"}
    assert first["receivedAt"] == "2023-11-14T22:13:20.000Z"
    assert first["event"] == {
        "event": "Charged",
        "userId": "c1",
        "properties": {"amount": 5},
        "type": "track",
        "messageId": first["messageId"],
    }
    assert first["messageId"].startswith("fn-")
    assert second["messageId"] == "own"


async def test_an_object_becomes_an_object_line_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    text = """
        def on_request(request, settings):
            Segment.set(collection="plans", id="pro", properties=request.json())
    """
    async with daemon(tmp_path, text) as made:
        await made.take({"price": 9})
        with pytest.raises(Refused) as refused:
            await made.take({"tags": ["a"]})
        (error,) = made.db.errors()
    (line,) = made.lines
    assert line["kind"] == "set"
    assert line["event"] == {"type": "set", "collection": "plans", "id": "pro", "properties": {"price": 9}}
    assert refused.value.status == 400
    assert "properties.tags" in error.message


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        ("InvalidEventPayload('no')", 400, "message_rejected"),
        ("KeyError('x')", 500, "function_failed"),
        ("InvalidSettings('no key')", 500, "function_failed"),
    ],
)
async def test_a_failure_is_answered_as_one_without_its_text(
    tmp_path: Path, raised: str, status: int, code: str
) -> None:
    async with daemon(tmp_path) as made:
        with pytest.raises(Refused) as refused:
            await made.take({"raise": raised})
    assert (refused.value.status, refused.value.code) == (status, code)
    assert "no key" not in refused.value.message
    assert made.lines == []


@pytest.mark.parametrize("raised", ["EventNotSupported('x')", "DropEvent('x')"])
async def test_what_a_function_wants_nothing_of_is_a_success(tmp_path: Path, raised: str) -> None:
    async with daemon(tmp_path) as made:
        await made.take({"raise": raised})
        assert made.db.waiting() == {}
    assert made.lines == []


async def test_events_that_cannot_be_stored_are_told_to_the_sender(tmp_path: Path) -> None:
    async with daemon(tmp_path) as made:
        made.fails = True
        with pytest.raises(Refused) as refused:
            await made.take()
    assert (refused.value.status, refused.value.retry_after) == (503, 5)


async def test_a_file_that_does_not_load_is_told_to_the_sender(tmp_path: Path) -> None:
    async with daemon(tmp_path, "1 / 0") as made:
        with pytest.raises(Refused) as refused:
            await made.take()
    assert (refused.value.status, refused.value.code) == (503, "function_unavailable")


FLAKY = """
    import os
    def on_request(request, settings):
        body = request.json()
        if not os.path.exists(body["file"]): raise RetryError("not there yet")
        Segment.track(event="There", userId="u")
"""


async def test_a_webhook_for_which_it_is_too_early_is_kept_durably_and_tried_again(tmp_path: Path) -> None:
    async with daemon(tmp_path, FLAKY) as made:
        await made.take({"file": str(tmp_path / "there")})
        assert made.db.waiting() == {"stripe": 1}
    # Another daemon, after a crash.
    (tmp_path / "there").touch()
    async with daemon(tmp_path, FLAKY) as made, anyio.create_task_group() as tasks:
        tasks.start_soon(made.functions.run)
        await made.until(lambda: made.lines)
        await made.until(lambda: made.db.waiting() == {})
        waited = made.clock.elapsed
        tasks.cancel_scope.cancel()
    assert 60 <= waited <= 70
    assert [event["event"] for event in made.events] == ["There"]
    assert made.lines[0]["receivedAt"] == "2023-11-14T22:13:20.000Z", "when it came"


async def test_a_run_that_is_repeated_after_a_crash_makes_the_same_message_ids(tmp_path: Path) -> None:
    async with daemon(tmp_path, FLAKY) as made, anyio.create_task_group() as tasks:
        await made.take({"file": str(tmp_path / "there")})
        (kept,) = made.db.due(10**15, 10)
        (tmp_path / "there").touch()
        tasks.start_soon(made.functions.run)
        await made.until(lambda: made.lines and made.db.waiting() == {})
        made.db.keep_webhook(kept)
        await made.until(lambda: len(made.lines) == 2)
        tasks.cancel_scope.cancel()
    assert made.lines[0]["messageId"] == made.lines[1]["messageId"]


async def test_after_six_tries_it_is_given_up_and_kept_as_an_error(tmp_path: Path) -> None:
    async with daemon(tmp_path, FLAKY) as made, anyio.create_task_group() as tasks:
        await made.take({"file": str(tmp_path / "never")})
        tasks.start_soon(made.functions.run)
        await made.until(lambda: made.db.waiting() == {})
        waited = made.clock.elapsed
        tasks.cancel_scope.cancel()
        ended = [error.ended for error in made.db.errors("source stripe")]
    assert ended == ["retry"] * MOST_TRIES + ["given_up"]
    assert 60 * (1 + 2 + 4 + 8 + 16) <= waited <= 60 * (1 + 2 + 4 + 8 + 16) + 6 * 10
    assert made.log.texts("error") == ["a webhook is given up: its function could not take it"]


async def test_a_function_that_hangs_is_tried_again_too(tmp_path: Path) -> None:
    text = "import asyncio\nasync def on_request(request, settings): await asyncio.sleep(1000)"
    async with daemon(tmp_path, text, limit=SHORT) as made:
        await made.take()
        assert made.db.waiting() == {"stripe": 1}


async def test_a_request_shows_its_headers_body_query_and_form(tmp_path: Path) -> None:
    text = """
        def on_request(request, settings):
            Segment.track(event=request.headers["X-Name"], userId=request.query["q"], properties=request.json())
    """
    async with daemon(tmp_path, text) as made:
        headers = {"content-type": "application/x-www-form-urlencoded", "x-name": "Form"}
        source = made.settings.sources["key"]
        url = "http://x/v1/fn/stripe?q=u1"
        await made.functions.take(source, url, headers, b"a=1&b=%C3%A9", VIA, made.settings)
    (event,) = made.events
    assert (event["event"], event["userId"], event["properties"]) == ("Form", "u1", {"a": "1", "b": "é"})


async def test_an_event_over_the_limit_is_rejected_as_any_other(tmp_path: Path) -> None:
    text = "def on_request(request, settings): Segment.track(event='x' * 40_000, userId='u')"
    async with daemon(tmp_path, text) as made:
        await made.take()
    assert made.lines[0]["reject"] == "event_too_large"


async def test_a_reload_keeps_what_did_not_change_and_drops_what_is_gone(tmp_path: Path) -> None:
    async with daemon(tmp_path) as made:
        await made.take()
        host = made.functions._hosts["stripe"]
        await made.functions.apply(made.config)
        assert made.functions._hosts["stripe"] is host
        await made.functions.apply(Config())
        assert not made.functions.has("stripe")
