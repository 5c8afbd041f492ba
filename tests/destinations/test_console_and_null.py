"""The console and the null destination."""

from __future__ import annotations

import errno
import io
from typing import Any

import pytest

from cdpd.destinations.console import Console
from cdpd.destinations.null import Null
from cdpd.destinations.outcome import Delivered
from tests.destinations.conftest import Make, batch


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def console(make: Make, out: io.StringIO, **options: Any) -> Console:
    made = make(Console, **options)
    return Console(made.config, made.env, out)


async def test_each_event_is_a_line(make: Make) -> None:
    out = io.StringIO()
    given = batch({}, {"type": "identify", "userId": "u9", "properties": None, "traits": {"plan": "pro"}})
    assert await console(make, out).deliver(given) == [Delivered()] * 2
    first, second = out.getvalue().splitlines()
    for word in ("12:00:01.000", "website", "track", "Signed Up", "u0", '{"plan":"pro","seats":0}'):
        assert word in first
    for word in ("identify", "u9", '{"plan":"pro"}'):
        assert word in second
    assert "\x1b" not in out.getvalue()


async def test_what_could_steer_a_terminal_or_break_the_line_is_neutralised(make: Make) -> None:
    out = io.StringIO()
    await console(make, out).deliver(batch({"event": "\x1b[2J\r\nfake\x07\u202e", "userId": "a\x9bb"}))
    assert out.getvalue().count("\n") == 1
    assert not any(character in out.getvalue() for character in "\x1b\r\x07\x9b\u202e")


@pytest.mark.parametrize(
    ("colour", "terminal", "no_color", "coloured"),
    [
        ("auto", True, False, True),
        ("auto", True, True, False),
        ("auto", False, False, False),
        ("always", False, True, True),
        ("never", True, False, False),
    ],
)
async def test_colours_are_for_terminals(
    make: Make, monkeypatch: pytest.MonkeyPatch, colour: str, terminal: bool, no_color: bool, coloured: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1" if no_color else "")
    out = Terminal() if terminal else io.StringIO()
    await console(make, out, colour=colour).deliver(batch({}))
    assert ("\x1b[" in out.getvalue()) is coloured


async def test_when_nobody_reads_any_more_events_are_not_held_back(make: Make) -> None:
    assert await console(make, Closed()).deliver(batch({})) == [Delivered()]


async def test_a_full_disk_behind_standard_output_is_a_failure(make: Make) -> None:
    with pytest.raises(OSError, match="No space"):
        await console(make, Full()).deliver(batch({}))


async def test_null_counts(make: Make) -> None:
    null = make(Null)
    assert isinstance(null, Null)
    assert await null.deliver(batch({}, {}, {})) == [Delivered()] * 3
    assert null.events == 3
