"""What `cdpd status` prints for people: each part on a line or two, with its problem below it."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cdpd.cli.output import columns, plural, size_text
from cdpd.terminal import paint, printable
from cdpd.timestamp import parse_time

_GOOD: Final = ("running", "starting", "disabled")
_BAD: Final = ("paused", "stopped", "failed")
_SHOWN: Final = frozenset(
    [
        "state",
        "version",
        "pid",
        "uptime_seconds",
        "listen",
        "data_dir",
        "configuration",
        "certificate",
        "disk",
        "streams",
        "pipeline",
        "destinations",
        "alerts",
        "counters",
    ]
)


class StatusReport:
    """The text for an answer of the daemon. `width`: columns to wrap at; None for as long as a line is."""

    def __init__(self, told: Mapping[str, Any], *, width: int | None = None, colours: bool = False) -> None:
        self._told = told
        self._width = width
        self._colours = colours

    @property
    def more(self) -> dict[str, Any]:
        """What it does not know how to show."""
        return {name: value for name, value in self._told.items() if name not in _SHOWN}

    def text(self) -> str:
        """Everything but the counters."""
        told = self._told
        blocks = ["\n".join(self._daemon())]
        if told.get("streams"):
            blocks.append(self._streams(told["streams"]))
        if told.get("pipeline"):
            blocks.append("\n".join(self._pipeline(told["pipeline"])))
        if "destinations" in told:
            blocks.append("\n".join(self._destinations(told["destinations"])))
        if told.get("alerts"):
            blocks.append("\n".join(self._alerts(told["alerts"])))
        return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n"

    def _daemon(self) -> Iterator[str]:
        told = self._told
        state = str(told.get("state", "running"))
        words = "running for" if state == "running" else f"{state}, started"
        ago = "" if state == "running" else " ago"
        facts = [
            f"cdpd {told.get('version', '')}".rstrip(),
            f"{words} {duration(told.get('uptime_seconds', 0))}{ago}",
            f"pid {told.get('pid', '?')}",
            *told.get("listen", ())[:1],
        ]
        yield self._bold(" · ".join(facts))
        rows = [
            ("also at", _listed(told.get("listen", [])[1:])),
            ("data", told.get("data_dir")),
            ("configuration", _listed(told.get("configuration"))),
        ]
        disk = told.get("disk")
        if disk and disk["free_bytes"] is not None:
            rows.append(("disk", _free(disk)))
        certificate = told.get("certificate")
        if certificate:
            rows.append(("certificate", f"{certificate['from']}, until {certificate['expires']}"))
        for name, value in rows:
            if value:
                yield from self._wrapped(str(value), f"{name:<15}")

    def _streams(self, streams: Mapping[str, Any]) -> str:
        rows = [
            (name, one.get("lines", one["end"] - one["begin"]), f"{one['begin']:,} to {one['end']:,}")
            for name, one in streams.items()
        ]
        return self._table(columns(rows, ("STREAM", "EVENTS", "OFFSETS")))

    def _pipeline(self, told: Mapping[str, Any]) -> Iterator[str]:
        behind = told.get("behind", 0)
        lag = "nothing to do"
        if behind:
            lag = f"{plural(behind, 'event')} behind"
            if told.get("behind_seconds"):
                lag += f", the oldest came {duration(told['behind_seconds'])} ago"
        state = str(told["state"])
        yield f"{self._bold('PIPELINE')}  {self._state(state)}, {lag}"
        if told.get("reason"):
            yield from self._wrapped(str(told["reason"]), "  ")
        hooks = told.get("hooks") or {}
        if hooks:
            yield from self._wrapped(", ".join(_hook(name, one) for name, one in hooks.items()), "  hooks: ")

    def _destinations(self, told: Mapping[str, Any]) -> Iterator[str]:
        if not told:
            yield f"{self._bold('DESTINATIONS')}  none"
            return
        header = ("DESTINATION", "STATE", "DELIVERED", "PARKED", "BEHIND")
        rows = [
            (name, one["state"], one.get("delivered", 0), one.get("parked", 0), _behind(one))
            for name, one in told.items()
        ]
        first, *lines = columns(rows, header).splitlines()
        yield self._bold(first)
        after = max(len(header[0]), *(len(name) for name in told))
        for line, one in zip(lines, told.values(), strict=True):
            state = str(one["state"])
            yield line[:after] + line[after:].replace(state, self._state(state), 1)
            if one.get("paused"):
                pause = one["paused"]
                yield from self._wrapped(
                    _since(pause["since"]) + (pause["reason"] or "no reason was given"), "  "
                )
            if one.get("problem"):
                yield from self._wrapped(_since(one.get("failing_since")) + str(one["problem"]), "  ")

    def _alerts(self, told: Mapping[str, Any]) -> Iterator[str]:
        firing = told["firing"]
        state = f"{len(firing)} firing" if firing else "none fires"
        yield f"{self._bold('ALERTS')}  {paint(state, 'red' if firing else 'green', self._colours)}"
        for one in firing:
            about = f" of {one['about']}" if one["about"] else ""
            now = f"; now {one['now']}" if one["now"] else ""
            yield from self._wrapped(f"{one['alert']}{about}: {_since(one['since'])}{one['when']}{now}", "  ")
        for one in told["unsent"]:
            problem = f": {one['problem']}" if one["problem"] else ""
            yield from self._wrapped(f"not delivered yet: {one['channel']}{problem}", "  ")
        if told["problem"]:
            yield from self._wrapped(str(told["problem"]), "  ")

    def _table(self, text: str) -> str:
        first, *lines = text.splitlines()
        return "\n".join([self._bold(first), *lines])

    def _wrapped(self, text: str, before: str) -> Iterator[str]:
        text = printable(" ".join(text.split()))
        if self._width is None:
            yield before + text
            return
        yield from textwrap.wrap(
            text,
            max(self._width, 40),
            initial_indent=before,
            subsequent_indent=" " * len(before),
            break_on_hyphens=False,
        )

    def _bold(self, text: str) -> str:
        return paint(text, "bold", self._colours)

    def _state(self, state: str) -> str:
        return paint(
            state, "green" if state in _GOOD else "red" if state in _BAD else "yellow", self._colours
        )


def duration(seconds: float) -> str:
    """`4 s`, `3 min`, `5 h 12 min`, `12 d 3 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s" if whole or not seconds else "less than a second"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def _behind(one: Mapping[str, Any]) -> str:
    events, seconds = one.get("lag_events", 0), one.get("lag_seconds")
    if not events:
        return "-"
    return plural(events, "event") + (f", {duration(seconds)}" if seconds else "")


def _since(failing: str | None) -> str:
    """How long it has been failing."""
    ms = parse_time(failing) if failing else None
    return "" if ms is None else f"for {duration(max(time.time() - ms / 1000, 0))}: "


def _hook(name: str, one: Mapping[str, Any]) -> str:
    seconds, failures = one.get("seconds", 0), one.get("failures", 0)
    text = f"{name} {seconds:,.3g} s" if seconds < 100 else f"{name} {duration(seconds)}"
    return f"{text} ({plural(failures, 'failure')})" if failures else text


def _free(disk: Mapping[str, Any]) -> str:
    text = f"{size_text(disk['free_bytes'])} free"
    if disk["state"] == "full":
        kept = size_text(disk["floor_bytes"])
        text += f": nearly full, events are refused until there is room ({kept} are kept free)"
    return text


def _listed(value: Any) -> str:
    """Of texts or one text."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
