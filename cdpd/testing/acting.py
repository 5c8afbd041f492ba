"""One action of a destination, run on events, or the test of its connection: what came of it, and the requests.

Nothing is sent.
"""

from __future__ import annotations

import errno
import tempfile
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import aiohttp
import msgspec
from msgspec import Struct
from multidict import CIMultiDict

from cdpd.clock import Clock
from cdpd.config.problem import ConfigError, Problem, key_text
from cdpd.delivery.checking import checked
from cdpd.delivery.lanes import Item
from cdpd.delivery.mask import Mask
from cdpd.delivery.sending import send
from cdpd.destinations.actions.client import Request
from cdpd.destinations.actions.destination import ActionDestination
from cdpd.destinations.answers import Answer
from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import DestinationEnv
from cdpd.destinations.outcome import Outcome
from cdpd.event import Position
from cdpd.secret import secrets_in
from cdpd.testing.clock import FakeClock
from cdpd.testing.events import event_line
from cdpd.testing.log import KeptLog
from cdpd.testing.options import configured
from cdpd.testing.vendor import Reply


class Acted(NamedTuple):
    """What an action came to: `outcomes, requests = await run_action(…)`."""

    outcomes: Sequence[Outcome]
    """Of each event, in order."""
    requests: list[dict[str, Any]]
    """As they were made: `method`, `url`, `headers` (names in lower case), and `json`, `form`, `query` or `text`."""

    @property
    def outcome(self) -> Outcome:
        """Of the one event. Raises ValueError where there are several."""
        (outcome,) = self.outcomes
        return outcome


async def run_action(
    kind: type[ActionDestination],
    action: str,
    *events: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    mapping: Mapping[str, Any] | None = None,
    replies: Sequence[int | Reply] = (),
    clock: Clock | None = None,
) -> Acted:
    """Run an action on events (filled in as `event_line` does), whatever its trigger; several are one batch.

    `settings`: as in TOML; default: the destination's `example_settings`. `mapping`: laid over the action's own.
    `replies`: what the vendor answers, in order; then 200 and `{}`. `kind.Config` is checked as `cdpd check` does:
    raises ConfigError. A fault of the destination (an exception, a wrong number of results) is an AssertionError.
    """
    filled = [msgspec.json.decode(event_line(event, number)) for number, event in enumerate(events, 1)]
    options = kind.example_settings if settings is None else settings
    vendor = Scripted(replies)
    acted = await act(
        kind,
        action,
        filled,
        options,
        {**kind.example_mapping, **(mapping or {})},
        vendor,
        clock or FakeClock(),
    )
    if acted.fault:
        raise AssertionError(f"a fault of the destination:\n{acted.fault}")
    return Acted(acted.outcomes, [shown(request) for request in vendor.requests])


class Connected(NamedTuple):
    """What a test of a connection came to: `found, requests = await run_check(…)`."""

    found: Checked
    requests: list[dict[str, Any]]
    """As in Acted."""


async def run_check(
    kind: type[ActionDestination],
    *,
    settings: Mapping[str, Any] | None = None,
    replies: Sequence[int | Reply] = (),
) -> Connected:
    """Test a destination's connection to a vendor that answers so, then 200 and `{}`. For the rest see `run_action`."""
    options = kind.example_settings if settings is None else settings
    config = _checked_config(kind, options)
    vendor = Scripted(replies)
    async with _started(kind, config, vendor, FakeClock(), KeptLog()) as destination:
        found = await checked(destination, Mask(secrets_in(config)))
    return Connected(found, [shown(request) for request in vendor.requests])


class Scripted:
    """A transport that sends nothing: it keeps the requests and answers them in order, the rest with `otherwise`."""

    def __init__(self, replies: Sequence[int | Reply], otherwise: Reply | None = None) -> None:
        self.requests: list[Request] = []
        self._replies = [Reply(reply) if isinstance(reply, int) else reply for reply in replies]
        self._otherwise = otherwise or Reply()

    async def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        reply = self._replies.pop(0) if self._replies else self._otherwise
        match reply.instead:
            case "hang":
                raise TimeoutError
            case "reset":
                raise aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer")
            case "cut":
                raise aiohttp.ClientPayloadError("the answer is not complete")
        return Answer(reply.status, CIMultiDict(reply.headers), reply.body.decode(errors="replace"))


class Came(Struct):
    """What came of an action, a fault of its own included."""

    outcomes: Sequence[Outcome]
    fault: str


async def act(
    kind: type[ActionDestination],
    action: str,
    events: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    mapping: Mapping[str, Any],
    transport: Scripted,
    clock: Clock,
) -> Came:
    """Run an action on events as they are. Raises ConfigError where settings, action or mapping are wrong."""
    setup = {"action": action, "mapping": mapping, "when": "all"}
    config = _checked_config(kind, {**settings, "presets": False, "actions": [setup]})
    items = [
        Item(Position(number, 1), clock.now_ms(), None, msgspec.json.encode(event))
        for number, event in enumerate(events)
    ]
    told = KeptLog()
    async with _started(kind, config, transport, clock, told) as destination:
        sent = await send(destination.deliver, items, 1, clock, Mask(()))
    return Came(sent.outcomes, sent.fault or _fault(told))


def _checked_config(kind: type[ActionDestination], settings: Mapping[str, Any]) -> Any:
    """Its typed options. Raises ConfigError, also for what `problems` finds."""
    config = configured(kind.Config, settings)
    found = [
        Problem(f"{problem.message} {problem.hint}".rstrip(), key=key_text(problem.path))
        for problem in kind.problems(config)
    ]
    if found:
        raise ConfigError(found)
    return config


@asynccontextmanager
async def _started(
    kind: type[ActionDestination], config: Any, transport: Scripted, clock: Clock, told: KeptLog
) -> AsyncIterator[ActionDestination]:
    with tempfile.TemporaryDirectory(prefix="cdpd-testing-") as folder:
        async with aiohttp.ClientSession() as http:
            destination = kind(config, DestinationEnv("tested", http, Path(folder), clock, told.log))
            destination.client.transport = transport
            await destination.start()
            try:
                yield destination
            finally:
                await destination.stop()


def _fault(told: KeptLog) -> str:
    """What an action raised that it may not: in the daemon that is logged, and the events are tried again."""
    raised = (entry.details.get("exc_info") for entry in told.entries if entry.level == "error")
    return "".join(
        "".join(traceback.format_exception(error)) for error in raised if isinstance(error, Exception)
    )


def shown(request: Request) -> dict[str, Any]:
    """A request in the form of the cases (spec/destinations.md §0.9)."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    told: dict[str, Any] = {"method": request.method, "url": request.url, "headers": headers}
    if not request.body:
        parts = urlsplit(request.url)
        if parts.query:
            told["url"] = urlunsplit(parts._replace(query=""))
            told["query"] = dict(parse_qsl(parts.query, keep_blank_values=True))
        return told
    text = request.body.decode(errors="replace")
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        pairs = parse_qsl(text, keep_blank_values=True)
        return {**told, "form": {name: _maybe_json(value) for name, value in pairs}}
    try:
        return {**told, "json": msgspec.json.decode(request.body)}
    except msgspec.DecodeError:
        return {**told, "text": text}


def _maybe_json(text: str) -> Any:
    """JSON text as what it says; anything else, and plain numbers and words, as it is."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
