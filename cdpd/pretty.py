"""Lines of the log for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import structlog

from cdpd.terminal import paint, printable

_COLOURS: Final = {"debug": "dim", "info": "green", "warning": "yellow", "error": "red"}
_FIRST: Final = ("destination", "plugin", "source", "stream")
"""Whom it is about comes first."""
_BELOW: Final = 100
"""A list of more characters than this has a line for each item."""


class Pretty:
    """A structlog processor that renders: `13:57:53 warning  text  name=value`, what has several lines below."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _: object, method: str, event: structlog.typing.EventDict) -> str:
        facts = dict(event)
        time, level = facts.pop("timestamp", ""), str(facts.pop("level", method))
        facts.pop("repeated", None)  # the text says it
        text, trace = printable(str(facts.pop("event", ""))), facts.pop("exception", None)
        facts = {**{name: facts.pop(name) for name in _FIRST if name in facts}, **facts}
        parts = [
            self._paint(str(time), "dim"),
            self._paint(f"{level:<7}", _COLOURS.get(level, "red")),
            self._paint(text, "bold"),
        ]
        below: list[str] = []
        for name, value in facts.items():
            lines = list(_lines(value))
            if lines:
                below += [f"{name}:", *(f"  {line}" for line in lines)]
            else:
                parts.append(f"{self._paint(printable(name) + '=', 'cyan')}{_shown(value)}")
        if trace:
            below += str(trace).splitlines()
        indent = " " * 9
        return "\n".join(
            [" ".join(part for part in parts if part), *(indent + printable(line) for line in below)]
        )

    def _paint(self, text: str, colour: str) -> str:
        return paint(text, colour, self._colours)


def _lines(value: Any) -> Iterator[str]:
    """The lines of what does not go into one."""
    if isinstance(value, str) and "\n" in value.strip():
        yield from value.strip().splitlines()
    elif isinstance(value, list | tuple) and sum(len(str(item)) for item in value) > _BELOW:
        yield from map(str, value)


def _shown(value: Any) -> str:
    """One value, on one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple | set | frozenset):
        text = ", ".join(map(str, value)) or "none"
    elif isinstance(value, dict):
        text = msgspec.json.encode(value, enc_hook=str).decode()
    else:
        text = str(value).strip()
    text = printable(text)
    return f'"{text}"' if " " in text or not text else text
