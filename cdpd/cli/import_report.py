"""What `cdpd import` says: a bar or a line now and then while it runs, a summary at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from msgspec import Struct

from cdpd.bring.importer import Tally
from cdpd.cli.output import columns, plural, size_text
from cdpd.terminal import printable
from cdpd.timestamp import format_time

_SHOWN: Final = 20
"""Bad lines that are told one by one."""
_EVERY: Final = 10.0
"""Seconds between two lines where nobody watches a bar."""


class Teller:
    """Tells how it goes (cdpd.bring.importer.Watch), on stderr. `monotonic` is a clock in seconds."""

    def __init__(self, stack: ExitStack, size: int | None, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._size = size
        self._read = self._sent = self._bad = 0
        self._told = monotonic()
        self._bar: Any = _bar(stack, size) if sys.stderr.isatty() else None

    def say(self, text: str) -> None:
        line = f"cdpd: {printable(text)}"
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(line + "\n")

    def bad(self, place: str, message: str) -> None:
        self._bad += 1
        if self._bad <= _SHOWN:
            self.say(f"{place}: {message}")
        elif self._bad == _SHOWN + 1:
            self.say("more such lines follow; only counted from here on")

    def read(self, count: int) -> None:
        self._read += count
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._read)

    def sent(self, count: int) -> None:
        self._sent += count
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=plural(self._sent, "event"))
        elif self._monotonic() - self._told >= _EVERY:
            self._told = self._monotonic()
            of = "" if self._size is None else f" of {size_text(self._size)}"
            self.say(f"{plural(self._sent, 'event')} so far, {size_text(self._read)}{of} read")


def _bar(stack: ExitStack, size: int | None) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    stack.enter_context(bar)
    bar.add_task("0 events", total=size)
    return bar


class Outcome(Struct, frozen=True):
    """One run, at its end."""

    tally: Tally
    source: str
    left_out: int
    """Files whose names say that they are something else."""
    delivery: str
    seconds: float
    ended: str = ""
    """Why it ended early."""
    dry: bool = False
    codes: Sequence[tuple[str, str, int]] = ()
    """Of a dry run: what `spec` would turn away, (code, message, how many)."""
    example: bytes | None = None
    """Of a dry run: the first event, as it would be stored."""

    def as_json(self) -> dict[str, Any]:
        tally = self.tally
        found: dict[str, Any] = {
            "source": self.source,
            "dry_run": self.dry,
            "files": tally.files,
            "files_done_before": tally.files_before,
            "files_broken": tally.files_broken,
            "files_left_out": self.left_out,
            "events": tally.events,
            "rejected": tally.rejected,
            "outside_times": tally.outside,
            "bad_lines": tally.bad_lines,
            "without_time": tally.untimed,
            "first": _time(tally.first_ms),
            "last": _time(tally.last_ms),
            "seconds": round(self.seconds, 3),
            "ended_early": self.ended or None,
        }
        if self.dry:
            found["calls"] = [
                {"type": kind, "name": name, "events": count}
                for (kind, name), count in tally.kinds.most_common()
            ]
            found["would_be_turned_away"] = [
                {"code": code, "message": message, "events": count} for code, message, count in self.codes
            ]
        return found

    def text(self) -> str:
        tally = self.tally
        verb = "would import" if self.dry else "imported"
        files = plural(tally.files, "file") + (
            f" ({tally.files_before:,} more imported before: --restart imports them again)"
            if tally.files_before
            else ""
        )
        head = f"{verb} {plural(tally.events, 'event')} into {self.source} from {files}\n"
        return head + columns(self._facts(), indent="  ") + (self._dry() if self.dry else "")

    def _facts(self) -> list[tuple[str, str]]:
        tally = self.tally
        facts = []
        if tally.first_ms is not None:
            facts.append(("happened", f"{_time(tally.first_ms)} to {_time(tally.last_ms)}"))
        if tally.untimed:
            facts.append(
                (
                    "no time",
                    f"{plural(tally.untimed, 'event')}: they count as happened when they were received",
                )
            )
        if tally.outside:
            facts.append(("left out", f"{plural(tally.outside, 'event')} outside the times asked for"))
        if self.left_out:
            facts.append(
                ("other files", f"{self.left_out:,}, not read: their names are of no archive or CSV")
            )
        if tally.bad_lines:
            facts.append(("no events", plural(tally.bad_lines, "line")))
        if tally.files_broken:
            facts.append(("not whole", plural(tally.files_broken, "file")))
        if tally.rejected:
            facts.append(
                ("turned away", f"{tally.rejected:,} for their size or form: cdpd discarded ls --by ingest")
            )
        facts.append(("delivery", self.delivery))
        if not self.dry and tally.events and self.seconds > 0:
            rate = tally.events / self.seconds
            facts.append(("took", f"{self.seconds:,.1f} s, {rate:,.0f} events/s"))
        if self.ended:
            facts.append(("ended early", self.ended))
        return facts

    def _dry(self) -> str:
        parts = []
        if self.tally.kinds:
            rows = [
                (kind, printable(name), count) for (kind, name), count in self.tally.kinds.most_common(30)
            ]
            parts.append("\n" + columns(rows, ("type", "name", "events"), indent="  "))
            if len(self.tally.kinds) > 30:
                parts.append(f"  … and {len(self.tally.kinds) - 30:,} more\n")
        if self.codes:
            rows_away = [(code, count, message) for code, message, count in self.codes]
            parts.append("\nwould be turned away, and kept in discarded:\n" + columns(rows_away, indent="  "))
        if self.example is not None:
            parts.append(f"\nthe first event, as the hook spec would leave it:\n{self.example.decode()}\n")
        parts.append("\nnothing was sent: this was a dry run\n")
        return "".join(parts)


def _time(ms: int | None) -> str | None:
    return None if ms is None else format_time(ms)
