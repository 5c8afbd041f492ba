"""Cases of destinations: an event, settings, and the requests that have to come of it; or an answer and what it means.

The form of such files, and how a request is compared: spec/destinations.md §0.9. A case runs through the destination's
own code, from its typed options to the outcome; only the network is replaced, by answers that the case names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, field

from cdpd.config.problem import ConfigError
from cdpd.destinations.actions.destination import ActionDestination
from cdpd.destinations.actions.example import example_of
from cdpd.destinations.outcome import Outcome
from cdpd.testing.acting import Scripted, act, shown
from cdpd.testing.clock import FakeClock
from cdpd.testing.vendor import Reply
from cdpd.timestamp import parse_time

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_FLAG: Final = re.compile(r"\s*[\U0001F1E6-\U0001F1FF]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_KNOWN: Final = ("destination", "title", "action", "settings", "mapping", "event", "events", "replies")
_EXPECTED: Final = ("expected_requests", "expected_error", "expected_outcomes")
_BESIDE: Final = ("verified", "note", "sync_mode")


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


class Case(Struct, frozen=True, eq=False):
    """One case of a file, for a test of its own: see `cases_of`."""

    of: Mapping[str, Any]
    """As it stands in the file."""
    is_response: bool = False
    """Whether it is one of `response_cases`."""

    @property
    def __name__(self) -> str:
        """What pytest calls it."""
        return _title(self.of) if self.is_response else str(self.of.get("title", ""))

    async def check(self, kind: type[ActionDestination]) -> None:
        """Run it. Raises AssertionError with every difference, and the requests that were made."""
        run = run_response_case if self.is_response else run_case
        result = await run(kind, self.of)
        if result.problems:
            made = msgspec.json.format(msgspec.json.encode(result.requests)).decode()
            raise AssertionError("\n".join([*result.problems, "the requests were:", made]))


def cases_of(path: Path, destination: str | None = None) -> list[Case]:
    """A file's cases, of one destination or all, each to be a test:

        @pytest.mark.parametrize("case", cases_of(Path(__file__).with_name("cases.json")))
        async def test_a_case(case: Case) -> None:
            await case.check(Radio)

    Raises OSError, msgspec.DecodeError.
    """
    found = read_cases(path).of([] if destination is None else [destination])
    return [*(Case(case) for case in found.cases), *(Case(case, True) for case in found.response_cases)]


async def run_case(kind: type[Any] | None, case: Mapping[str, Any]) -> Result:
    """Run one of `cases`. `kind`: the destination's class; None: it is not installed."""
    result = Result("case", str(case.get("destination", "")), str(case.get("title", "")), False)
    unknown = [key for key in case if key not in (*_KNOWN, *_EXPECTED, *_BESIDE)]
    if unknown:
        result.problems.append(f"this kind of case cannot be run here: {', '.join(unknown)}")
    events = case.get("events") or [case.get("event", {})]
    vendor = Scripted([_reply(reply) for reply in case.get("replies", [])])
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
    result = Result("response case", str(case.get("destination", "")), _title(case), False)
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
    vendor = Scripted([], otherwise=reply)
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
    vendor: Scripted,
    result: Result,
) -> Sequence[Outcome]:
    """The outcomes; none where it could not be run, which `result.problems` then tells."""
    if kind is None:
        result.problems.append(f"no destination {result.destination!r} is installed")
        return ()
    if not issubclass(kind, ActionDestination):
        result.problems.append(f"{result.destination} is not made of actions: cases are of those alone")
        return ()
    options = {_HUMP.sub("_", name).lower(): _plain(value) for name, value in settings.items()}
    at = parse_time(str(events[0].get("timestamp", "")))
    clock = FakeClock() if at is None else FakeClock(at + 1000)
    try:
        came = await act(
            kind, str(case.get("action", "")), events, options, case.get("mapping", {}), vendor, clock
        )
    except ConfigError as error:
        result.problems += [str(problem) for problem in error.problems]
        return ()
    result.problems += [came.fault] if came.fault else []
    return came.outcomes


def _reply(case: Mapping[str, Any]) -> Reply:
    body = msgspec.json.encode(case["json"]) if "json" in case else str(case.get("text", "")).encode()
    return Reply(int(case.get("status", 200)), dict(case.get("headers", {})), body)


def _title(response_case: Mapping[str, Any]) -> str:
    status = response_case.get("reply", {}).get("status", 200)
    return f"{response_case.get('action', '')}: {response_case.get('events', 1)} answered {status}"


def _plain(value: Any) -> Any:
    """Without the flag emojis that region names have elsewhere."""
    return _FLAG.sub("", value) if isinstance(value, str) else value


# -- requests ------------------------------------------------------------------------------------------------


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
