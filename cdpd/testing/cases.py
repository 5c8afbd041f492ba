"""Cases of destinations: an event, settings, and the requests that have to come of it; or an answer and what it means.

The form of such files, and how a request is compared: spec/destinations.md §0.9. A case runs through the destination's
own code, from its typed options to the outcome; only the network is replaced, by answers that the case names.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import aiohttp
import msgspec
from msgspec import Struct, field

from cdpd.config.problem import ConfigError
from cdpd.delivery.lanes import Item
from cdpd.delivery.mask import Mask
from cdpd.delivery.sending import send
from cdpd.destinations.actions.client import Request
from cdpd.destinations.actions.destination import ActionDestination
from cdpd.destinations.actions.example import example_of
from cdpd.destinations.answers import Answer
from cdpd.destinations.contract import DestinationEnv
from cdpd.destinations.outcome import Outcome
from cdpd.event import Position
from cdpd.testing.clock import FakeClock
from cdpd.testing.log import KeptLog
from cdpd.testing.options import configured
from cdpd.timestamp import parse_time

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_FLAG: Final = re.compile(r"\s*[\U0001F1E6-\U0001F1FF]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_KNOWN: Final = ("destination", "title", "action", "settings", "mapping", "event", "events", "replies")
_EXPECTED: Final = ("expected_requests", "expected_error", "expected_outcomes")
_BESIDE: Final = ("verified", "note", "sync_mode")


class Reply(Struct, frozen=True):
    """What the vendor answers in a case."""

    status: int = 200
    headers: dict[str, str] = {}
    json: msgspec.Raw | None = None
    text: str = ""

    @property
    def answer(self) -> Answer:
        body = self.text if self.json is None else bytes(self.json).decode()
        return Answer(self.status, {name.title(): value for name, value in self.headers.items()}, body)


class Result(Struct):
    """What became of a case."""

    kind: Literal["case", "response case"]
    destination: str
    title: str
    passed: bool
    requests: list[dict[str, Any]] = field(default_factory=list)
    """As they were made: `method`, `url`, `headers`, and `json`, `form`, `query` or `text`."""
    outcomes: list[str] = field(default_factory=list)
    """The class of each event's outcome, in order."""
    problems: list[str] = field(default_factory=list)
    """What is different from what was expected, or why it could not run."""


class Cases(Struct, forbid_unknown_fields=True):
    """A file of cases."""

    format: Literal[1] = 1
    cases: list[dict[str, Any]] = []
    response_cases: list[dict[str, Any]] = []

    def of(self, names: Sequence[str]) -> Cases:
        """Those of some destinations; of all where none is named."""
        wanted = set(names)
        chosen = [
            [case for case in group if not wanted or case.get("destination") in wanted]
            for group in (self.cases, self.response_cases)
        ]
        return Cases(cases=chosen[0], response_cases=chosen[1])


def read_cases(path: Path) -> Cases:
    """A file's cases. Raises OSError, msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=Cases)


class _Vendor:
    """The transport of a case: answers in order, the last one again and again."""

    def __init__(self, replies: Sequence[Reply], forever: bool) -> None:
        self.requests: list[Request] = []
        self._replies = list(replies)
        self._forever = forever

    async def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        if self._forever:
            return self._replies[0].answer
        return self._replies.pop(0).answer if self._replies else Answer(200, {}, "{}")


async def run_case(kind: type[Any] | None, case: Mapping[str, Any]) -> Result:
    """Run one of `cases`. `kind`: the destination's class; None: it is not installed."""
    result = Result("case", str(case.get("destination", "")), str(case.get("title", "")), False)
    unknown = [key for key in case if key not in (*_KNOWN, *_EXPECTED, *_BESIDE)]
    if unknown:
        result.problems.append(f"this kind of case cannot be run here: {', '.join(unknown)}")
    events = case.get("events") or [case.get("event", {})]
    vendor = _Vendor([_reply(reply) for reply in case.get("replies", [])], forever=False)
    outcomes = await _deliver(kind, case, case.get("settings", {}), events, vendor, result)
    result.requests = [shown(request) for request in vendor.requests]
    result.outcomes = [outcome.kind for outcome in outcomes]
    if outcomes:
        result.problems += _differences(case, result, outcomes)
    result.passed = not result.problems
    return result


async def run_response_case(kind: type[Any] | None, case: Mapping[str, Any]) -> Result:
    """Run one of `response_cases`: sample events, each request answered with the case's reply."""
    reply = _reply(case.get("reply", {}))
    title = f"{case.get('action', '')}: {case.get('events', 1)} answered {reply.status}"
    result = Result("response case", str(case.get("destination", "")), title, False)
    events: list[Mapping[str, Any]] = []
    settings: Mapping[str, Any] = {}
    mapping: Mapping[str, Any] = {}
    if kind is not None and issubclass(kind, ActionDestination):
        settings, mapping = kind.example_settings, kind.example_mapping
        action = next((each for each in kind.actions if each.name == case.get("action")), None)
        if action is not None:
            sample = example_of(action)
            events = [
                {**sample, "messageId": f"msg-{number:04}", "userId": f"user-{number}"}
                for number in range(int(case.get("events", 1)))
            ]
    vendor = _Vendor([reply], forever=True)
    filled = {"mapping": mapping, **case}
    outcomes = await _deliver(kind, filled, settings, events or [{}], vendor, result)
    result.requests = [shown(request) for request in vendor.requests]
    result.outcomes = [outcome.kind for outcome in outcomes]
    if outcomes and result.outcomes != case.get("expected"):
        result.problems.append(f"expected {case.get('expected')}, came to {result.outcomes}: {outcomes}")
    result.passed = not result.problems
    return result


async def _deliver(
    kind: type[Any] | None,
    case: Mapping[str, Any],
    settings: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    vendor: _Vendor,
    result: Result,
) -> Sequence[Outcome]:
    """The outcomes; none where it could not be run, which `result.problems` then tells."""
    if kind is None:
        result.problems.append(f"no destination {result.destination!r} is installed")
        return ()
    if not issubclass(kind, ActionDestination):
        result.problems.append(f"{result.destination} is not made of actions: cases are of those alone")
        return ()
    setup = {"action": case.get("action", ""), "mapping": case.get("mapping", {}), "when": "all"}
    options = {_HUMP.sub("_", name).lower(): _plain(value) for name, value in settings.items()}
    try:
        config = configured(kind.Config, {**options, "presets": False, "actions": [setup]})
    except ConfigError as error:
        result.problems += [str(problem) for problem in error.problems]
        return ()
    found = [f"{problem.message} {problem.hint}".rstrip() for problem in kind.problems(config)]
    if found:
        result.problems += found
        return ()
    at = parse_time(str(events[0].get("timestamp", "")))
    clock = FakeClock() if at is None else FakeClock(at + 1000)
    items = [
        Item(Position(number, 1), clock.now_ms(), None, msgspec.json.encode(event))
        for number, event in enumerate(events)
    ]
    with tempfile.TemporaryDirectory(prefix="cdpd-cases-") as folder:
        async with aiohttp.ClientSession() as http:
            destination = kind(config, DestinationEnv("case", http, Path(folder), clock, KeptLog().log))
            destination.client.transport = vendor
            await destination.start()
            try:
                sent = await send(destination.deliver, items, 1, clock, Mask(()))
                result.problems += [sent.fault] if sent.fault else []
                return sent.outcomes
            finally:
                await destination.stop()


def _reply(case: Mapping[str, Any]) -> Reply:
    body = case.get("json")
    raw = msgspec.Raw(msgspec.json.encode(body)) if "json" in case else None
    return Reply(int(case.get("status", 200)), dict(case.get("headers", {})), raw, str(case.get("text", "")))


def _plain(value: Any) -> Any:
    """Without the flag emojis that region names have elsewhere."""
    return _FLAG.sub("", value) if isinstance(value, str) else value


# -- requests ------------------------------------------------------------------------------------------------


def shown(request: Request) -> dict[str, Any]:
    """A request in the form of the cases."""
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


def _differences(case: Mapping[str, Any], result: Result, outcomes: Sequence[Outcome]) -> Iterator[str]:
    expected = case.get("expected_requests", [])
    if len(expected) != len(result.requests):
        yield f"{len(expected)} requests expected, {len(result.requests)} made"
    for number, (wanted, made) in enumerate(zip(expected, result.requests, strict=False), 1):
        for difference in _request_differences(wanted, made):
            yield f"request {number}: {difference}"
    refused = case.get("expected_error")
    if refused is not None:
        if set(result.outcomes) != {refused.get("class")}:
            yield f"expected {refused.get('class')}, came to {result.outcomes}"
    elif "expected_outcomes" in case:
        if result.outcomes != case["expected_outcomes"]:
            yield f"expected {case['expected_outcomes']}, came to {result.outcomes}"
    elif set(result.outcomes) - {"delivered"}:
        yield f"not delivered: {list(outcomes)}"


def _request_differences(wanted: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        if key == "headers":
            for name, text in value.items():
                found = made["headers"].get(name.lower())
                if not _same(text, found):
                    yield f"header {name}: expected {text!r}, found {found!r}"
        elif key not in made:
            yield f"{key} is missing"
        else:
            yield from _unlike(value, made[key], key)


def _unlike(wanted: Any, made: Any, place: str) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(made, dict):
        for key in {**wanted, **made}:
            if key not in made:
                yield f"{place}.{key} is missing: {wanted[key]!r}"
            elif key not in wanted:
                yield f"{place}.{key} is too much: {made[key]!r}"
            else:
                yield from _unlike(wanted[key], made[key], f"{place}.{key}")
    elif isinstance(wanted, list) and isinstance(made, list):
        if len(wanted) != len(made):
            yield f"{place}: {len(wanted)} elements expected, {len(made)} found"
        for number, (one, other) in enumerate(zip(wanted, made, strict=False)):
            yield from _unlike(one, other, f"{place}[{number}]")
    elif not _same(wanted, made):
        yield f"{place}: expected {wanted!r}, found {made!r}"


def _same(wanted: Any, made: Any) -> bool:
    if isinstance(wanted, str) and "<uuid>" in wanted and isinstance(made, str):
        pattern = _UUID.pattern.join(map(re.escape, wanted.split("<uuid>")))
        return re.fullmatch(pattern, made, re.IGNORECASE) is not None
    return bool(wanted == made) and isinstance(wanted, bool) == isinstance(made, bool)
