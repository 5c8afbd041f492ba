"""What `cdpd diff` prints for people: a summary, then by hook, source, event and destination, then examples."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from cdpd.cli.output import plural
from cdpd.difference import Line, difference, shown, whole
from cdpd.terminal import coloured, paint, printable

if TYPE_CHECKING:
    from cdpd.compare.report import Change, Counts, Destination, Path, Report
    from cdpd.compare.tally import Sample

_ROWS: Final = 20
_PATHS: Final = 8
_LINES: Final = 24
"""Of one example."""
_WIDEST: Final = 48
"""Characters of a name in a table."""
_SUMMARY: Final = (
    ("discarded", "would be discarded", "red"),
    ("kept", "would no longer be discarded", "green"),
    ("changed", "would have other fields", "yellow"),
    ("otherwise", "would be discarded as before, but by another hook or for another reason", "yellow"),
    ("undecided", "a hook could not decide about", "magenta"),
    ("same", "would stay as they are", "dim"),
)
_VERBS: Final = {
    "discarded": ("would discard", "red"),
    "kept": ("would no longer discard", "green"),
    "changed": ("would set other fields", "yellow"),
    "otherwise": ("would discard instead", "yellow"),
    "undecided": ("cannot decide now", "magenta"),
}
_DELIVERIES: Final = {
    "no_longer": ("would no longer get", "red"),
    "newly": ("would newly get", "green"),
    "changed": ("would get other requests", "yellow"),
}
_NEW: Final = "it is new"
_DISCARDED: Final = "the event is discarded"
_BY_HOOKS: Final = "the hooks"
"""Reasons of a destination's changes, as cdpd/compare writes them."""
_COUNTED: Final = (
    ("discarded", "discarded"),
    ("kept", "kept"),
    ("changed", "other fields"),
    ("otherwise", "other reason"),
    ("undecided", "undecided"),
)


def print_report(report: Report) -> None:
    """Print it on stdout, coloured on a terminal."""
    colour = coloured(sys.stdout)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    sys.stdout.write("\n".join(_Text(report, colour, width).lines()) + "\n")


class _Text:
    """A report as lines."""

    def __init__(self, report: Report, colour: bool, width: int | None) -> None:
        self._report = report
        self._colour = colour
        self._width = width
        self._total = report.counts.events

    def lines(self) -> Iterator[str]:
        yield from self._head()
        yield from self._settings()
        if not self._report.compared:
            yield ""
            yield "No event would fare otherwise: all hooks and destinations are the same."
            return
        yield from self._summary()
        yield from self._hooks()
        yield from self._sources()
        yield from self._names()
        yield from self._destinations()
        yield from self._examples()

    # -- what was compared ---------------------------------------------------------------------------------

    def _head(self) -> Iterator[str]:
        report, looked = self._report, self._report.looked
        old, new = (
            printable(", ".join(side.files)) or "the development daemon's"
            for side in (report.old, report.new)
        )
        yield f"{self._bold('from')}  {old}"
        yield f"{self._bold('to')}    {new}"
        if not report.compared:
            return
        only = "".join(
            f" {word} {printable(value)}"
            for word, value in (("of source", looked.source), ("called", looked.event))
            if value is not None
        )
        span = f", received {_moment(looked.first)} to {_moment(looked.last)} UTC" if looked.first else ""
        yield f"{self._bold('with')}  {plural(looked.events, 'event')}{only}{span}"
        if looked.sampled:
            pieces = f", in {looked.stretches:,} pieces" if looked.stretches > 1 else ""
            yield f"      a sample of the {looked.in_span:,} of that time, evenly spread over it{pieces}"
        if not looked.complete:
            yield self._paint(
                "      stopped before the end: the figures are of the part that was read", "yellow"
            )
        left_out = [
            f"{count:,} that {printable(hook)} turned away" for hook, count in looked.turned_away_then.items()
        ]
        if looked.refused_by_ingest:
            left_out.append(f"{looked.refused_by_ingest:,} that ingest had to refuse")
        if left_out:
            yield f"      left out: {', '.join(left_out)}"
        for note in report.notes:
            yield f"{self._bold('note')}  {printable(note)}"

    def _settings(self) -> Iterator[str]:
        yield from self._title("Settings that differ")
        if not self._report.settings:
            yield "  none"
        widest = max((len(setting.key) for setting in self._report.settings), default=0)
        for setting in self._report.settings:
            sign = self._sign(setting.sign)
            told = f"{setting.before}  ⇒  {setting.after}" if setting.before and setting.after else ""
            told = told or setting.before or setting.after
            yield f"  {sign} {printable(setting.key).ljust(widest)}  {printable(told)}".rstrip()

    # -- figures -------------------------------------------------------------------------------------------

    def _summary(self) -> Iterator[str]:
        report, counts = self._report, self._report.counts
        affected = counts.events - counts.same
        yield ""
        if not report.differs:
            yield self._bold(f"This would change nothing for these {plural(counts.events, 'event')}.")
            return
        of = f"{affected:,} of {plural(counts.events, 'event')}"
        yield self._bold(f"This would change {of} ({share(affected, counts.events)})")
        rows = [
            (f"{count:,}", share(count, counts.events), self._paint(text, style))
            for name, text, style in _SUMMARY
            if (count := getattr(counts, name))
        ]
        yield from _table(rows, right=(0, 1))
        if report.deliveries_changed:
            of = plural(report.deliveries_changed, "event")
            yield f"  and what destinations are sent for {of} ({share(report.deliveries_changed, self._total)})"

    def _hooks(self) -> Iterator[str]:
        if not self._report.hooks:
            return
        yield from self._title("By hook")
        rows: list[Sequence[str]] = []
        for change in self._report.hooks:
            verb, style = _VERBS[change.kind]
            rows.append(
                (
                    _short(change.who),
                    self._paint(verb, style),
                    f"{change.events:,}",
                    share(change.events, self._total),
                    _short(change.reason),
                )
            )
            rows += self._paths(change.paths)
        yield from _table(rows, right=(2, 3))

    def _paths(self, paths: Sequence[Path]) -> Iterator[Sequence[str]]:
        for path in paths[:_PATHS]:
            count = path.added + path.removed + path.changed
            told = ", ".join(
                text if number == count else f"{text} in {number:,}"
                for text, number in (
                    ("added", path.added),
                    ("removed", path.removed),
                    ("another value", path.changed),
                )
                if number
            )
            name = _short(path.path) or "(all of it)"
            yield "", self._paint(f"  {name}", "dim"), f"{count:,}", share(count, self._total), told
        if len(paths) > _PATHS:
            yield "", self._paint(f"  and {len(paths) - _PATHS} more places", "dim"), "", "", ""

    def _sources(self) -> Iterator[str]:
        sources = self._report.sources
        states = {"same": "", "changed": "other hooks", "gone": "no longer there", "new": "new"}
        rows = [
            (_short(one.name) or "(unknown)", one.counts, states.get(one.state, one.state)) for one in sources
        ]
        yield from self._counted("By source", ("source",), [((name,), c, state) for name, c, state in rows])

    def _names(self) -> Iterator[str]:
        changed = [one for one in self._report.names if one.counts.same < one.counts.events]
        rows = [((one.type or "?", _short(one.name)), one.counts, "") for one in changed[:_ROWS]]
        yield from self._counted("By event", ("call", "name"), rows)
        if len(changed) > _ROWS:
            yield f"  and {len(changed) - _ROWS:,} more; --json has them all"
        same = len(self._report.names) - len(changed)
        if changed and same:
            yield self._paint(f"  {plural(same, 'other name')} would stay as before", "dim")

    def _counted(
        self, title: str, names: Sequence[str], rows: Sequence[tuple[Sequence[str], Counts, str]]
    ) -> Iterator[str]:
        if not any(counts.same < counts.events for _, counts, _ in rows):
            return
        yield from self._title(title)
        used = [
            (name, head) for name, head in _COUNTED if any(getattr(counts, name) for _, counts, _ in rows)
        ]
        header = [*names, "events", *(head for _, head in used), "as before", "", ""]
        table = [
            (
                *own,
                f"{counts.events:,}",
                *(_figure(getattr(counts, name)) for name, _ in used),
                _figure(counts.same),
                share(counts.same, counts.events),
                state,
            )
            for own, counts, state in rows
        ]
        yield from _table(
            table, right=range(len(names), len(header) - 1), header=[self._paint(h, "dim") for h in header]
        )

    def _destinations(self) -> Iterator[str]:
        concerned = [one for one in self._report.destinations if one.changes or one.state != "same"]
        if not concerned:
            return
        yield from self._title("By destination")
        header = ("destination", "gets now", "would get", "no longer", "newly", "other requests", "")
        rows = [
            (
                _short(one.name),
                *(_figure(n) for n in (one.before, one.after, one.no_longer, one.newly, one.changed)),
                _state(one),
            )
            for one in concerned
        ]
        yield from _table(rows, right=range(1, 6), header=[self._paint(h, "dim") for h in header])
        details: list[Sequence[str]] = []
        for one in concerned:
            for change in one.changes:
                verb, style = _DELIVERIES[change.kind]
                figures = f"{change.events:,}", share(change.events, self._total)
                details.append((_short(one.name), self._paint(verb, style), *figures, _because(change)))
                details += self._paths(change.paths)
        if details:
            yield ""
            yield from _table(details, right=(2, 3))
        same = len(self._report.destinations) - len(concerned)
        if same:
            yield self._paint(f"  {plural(same, 'other destination')} would get the same", "dim")

    # -- examples ------------------------------------------------------------------------------------------

    def _examples(self) -> Iterator[str]:
        changes = [(change, _VERBS[change.kind], change.reason) for change in self._report.hooks]
        changes += [
            (change, _DELIVERIES[change.kind], _because(change))
            for one in self._report.destinations
            for change in one.changes
        ]
        changes = [entry for entry in changes if _told(entry[0])]
        if not changes:
            return
        yield from self._title("Examples")
        for change, (verb, style), why in changes:
            reason = f" ({printable(why)})" if why else ""
            yield ""
            yield f"  {self._bold(printable(change.who))} {self._paint(verb, style)}{reason}"
            for sample in _told(change):
                yield from self._example(change, sample)
        yield ""
        yield self._paint("`cdpd trace ID` tells what became of one of them.", "dim")

    def _example(self, change: Change, sample: Sample) -> Iterator[str]:
        parts = (
            (sample.message_id, "cyan"),
            (sample.source, "blue"),
            (f"{sample.type or '?'} {sample.name}".strip(), "bold"),
            (sample.who, "magenta"),
        )
        told = "  ".join(self._paint(printable(text), style) for text, style in parts if text)
        yield f"    {told}"
        if sample.message:
            yield f"      {self._paint(_short(sample.message, 150), 'dim')}"
        before, after = sample.before, sample.after
        if change.kind == "changed" and before is not None and after is not None:
            yield from self._cut(difference(before, after, sample.paths or None))
        elif change.kind == "newly" and after is not None:
            yield from self._cut(whole(after))

    def _cut(self, lines: list[Line]) -> Iterator[str]:
        indent = "      "
        yield from shown(lines[:_LINES], self._colour, self._width, indent)
        if len(lines) > _LINES:
            yield self._paint(f"{indent}… {plural(len(lines) - _LINES, 'more line')}; --json has them", "dim")

    # -- looks ---------------------------------------------------------------------------------------------

    def _title(self, text: str) -> Iterator[str]:
        yield ""
        yield self._bold(text)

    def _bold(self, text: str) -> str:
        return self._paint(text, "bold")

    def _paint(self, text: str, style: str) -> str:
        return paint(text, style, self._colour and bool(text))

    def _sign(self, sign: str) -> str:
        return self._paint(sign, {"+": "green", "-": "red"}.get(sign, "yellow"))


def share(count: int, total: int) -> str:
    """A share for people: `12.3 %`; what is there but rounds to nothing is `<0.1 %`, and what is not all `>99.9 %`."""
    if not count or not total:
        return "0 %"
    percent = 100 * count / total
    if count == total:
        return "100 %"
    if percent < 0.05:
        return "<0.1 %"
    if percent > 99.95:
        return ">99.9 %"
    return f"{percent:.1f} %"


def _figure(count: int) -> str:
    return f"{count:,}" if count else "·"


def _state(one: Destination) -> str:
    """What is to be said of it beside its figures."""
    state = "" if one.state in ("same", "changed") else printable(one.state)
    options = f"other options: {', '.join(map(printable, one.options))}" if one.options else ""
    return "; ".join(text for text in (state, options) if text)


def _because(change: Change) -> str:
    """Why, in words."""
    if change.kind == "changed":
        return f"because of {printable(change.reason)}"
    if change.kind == "newly" and change.reason != _NEW:
        return f"now {printable(change.reason)}"
    return printable(change.reason)


def _told(change: Change) -> Sequence[Sample]:
    """Its examples, without those that only repeat what a hook's own tell."""
    if change.reason == _DISCARDED:
        return ()
    return change.samples[:1] if change.reason == _BY_HOOKS else change.samples


def _moment(time: str | None) -> str:
    return (time or "")[:19].replace("T", " ")


def _short(text: str, most: int = _WIDEST) -> str:
    text = printable(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _table(
    rows: Sequence[Sequence[str]], *, right: Sequence[int], header: Sequence[str] = ()
) -> Iterator[str]:
    """Aligned columns, with colours in the cells or without."""
    cells = [header, *rows] if header else rows
    if not cells:
        return
    widths = [max(_length(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        padded = (
            " " * (width - _length(cell)) + cell if i in right else cell + " " * (width - _length(cell))
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"  {'  '.join(padded)}".rstrip()


def _length(cell: str) -> int:
    """Characters that are seen."""
    if "\x1b" not in cell:
        return len(cell)
    return len(cell[cell.index("m") + 1 : cell.rindex("\x1b")])
