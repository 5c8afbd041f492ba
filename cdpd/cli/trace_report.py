"""What `cdpd trace` prints for people: a timeline of each time that the event came in."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Final

from cdpd.cli.output import plural
from cdpd.difference import difference, shown
from cdpd.terminal import paint, printable
from cdpd.timestamp import format_time, parse_time
from cdpd.trace.story import Delivered, Hooks, Receipt, Searched, State, Story, Try

_GOOD: Final = ("●", "green")
_BAD: Final = ("✗", "red")
_WAITS: Final = ("◌", "yellow")
_NOTHING: Final = ("○", "dim")
Mark = tuple[str, str]
_STATES: Final[dict[State, Mark]] = {
    "delivered": _GOOD,
    "skipped": _NOTHING,
    "parked": _BAD,
    "refused": _BAD,
    "retrying": _WAITS,
    "waiting": _WAITS,
    "not begun": _WAITS,
    "done": _NOTHING,
    "passed over": _NOTHING,
    "not connected": _NOTHING,
    "filtered": _NOTHING,
}
_OUTCOMES: Final = {
    "retry": "to be tried again",
    "rate_limited": "told to slow down",
    "resend": "to be sent again, without others",
    "too_large": "the request was too large",
    "bad_event": "refused for good",
    "bad_config": "a setting is wrong",
    "bad_credentials": "the credentials were refused",
}
_INDENT: Final = " " * 14
_NAME: Final = 10
"""Characters of an entry's name, at least."""
_LONGEST: Final = 300
"""Characters of an answer that are shown."""


class TraceReport:
    """The text of a story. `width`: columns to wrap at; None: as long as a line is."""

    def __init__(self, story: Story, *, width: int | None = None, colours: bool = False) -> None:
        self._story = story
        self._width = width
        self._colours = colours

    def text(self) -> str:
        story = self._story
        blocks = ["\n".join(self._receipt(number, one)) for number, one in enumerate(story.receipts, 1)]
        notes = [*story.notes, *_unread(story)]
        if self._more:
            notes.append(
                f"{plural(self._more, 'line')} more with this id, between the first and the last ones, were left out: "
                "--at, or --from and --to, choose. Is it a client that gives all its events one id?"
            )
        blocks += [self._paint(note, "yellow") for note in notes]
        return "\n\n".join(blocks) + "\n"

    @property
    def _more(self) -> int:
        return sum(one.more for one in self._story.searched)

    # -- one receipt ---------------------------------------------------------------------------------------

    def _receipt(self, number: int, receipt: Receipt) -> Iterator[str]:
        story = self._story
        title = [self._paint(printable(story.message_id), "bold")]
        what = f"{receipt.type or '?'} “{receipt.name}”" if receipt.name else receipt.type
        title += [printable(part) for part in (what, receipt.source, receipt.who) if part]
        count = len(story.receipts)
        if count > 1:
            title.append(
                self._paint(
                    f"{number} of {count} that are shown"
                    if self._more
                    else f"came in {count} times; this is number {number}",
                    "dim",
                )
            )
        yield "  ".join(title)
        yield from self._received(receipt)
        if receipt.hooks is not None:
            yield from self._hooks(receipt, receipt.hooks)
        yield from self._fate(receipt)
        for one in receipt.destinations:
            yield from self._destination(one)

    def _received(self, receipt: Receipt) -> Iterator[str]:
        place = "" if receipt.offset is None else f"offset {receipt.offset:,} of received"
        if not receipt.kept:
            place = f"{place}, which no longer has it" if place else "received no longer has it"
        yield self._entry(_BAD if receipt.reject else _GOOD, "received", self._when(receipt.at_ms), place)
        by = f"from {receipt.ip}" if receipt.ip else ""
        request = f"POST {receipt.path} {by}" if receipt.path else by
        yield from self._below(_joined(request, f"origin {receipt.origin}" if receipt.origin else ""))
        retry = f"the client's try number {receipt.retry + 1}" if receipt.retry else ""
        yield from self._below(_joined(receipt.sdk or receipt.user_agent, retry, _clock(receipt)))
        if receipt.retry_of is not None:
            yield from self._below(f"sent through again: it repeats offset {receipt.retry_of:,} of received")
        if receipt.reject:
            yield from self._below(f"ingest gave it to no hook: {receipt.reject}", "red")

    def _hooks(self, receipt: Receipt, hooks: Hooks) -> Iterator[str]:
        if hooks.problem:
            yield self._entry(_NOTHING, "hooks", self._paint("cannot be shown", "dim"))
            yield from self._below(hooks.problem, "dim")
            return
        changing = {step.hook for step in hooks.steps}
        changed = f"{len(changing)} of {len(hooks.names)} changed it"
        yield self._entry(_GOOD, "hooks", changed, self._paint("tried again just now on what came in", "dim"))
        for step in hooks.steps:
            yield from self._below(step.hook, "cyan")
            yield from shown(difference(step.before, step.after), self._colours, self._width, _INDENT + "  ")
        for one in hooks.violations:
            where = f" at {one['path']}" if one["path"] else ""
            yield from self._below(f"{one['by']} found: {one['code']}{where}: {one['message']}", "yellow")
        if hooks.ended_by:
            yield from self._below(f"{hooks.ended_by} turns it away: {hooks.ended_code}", "cyan")
        quiet = [name for name in hooks.names if name not in changing and name != hooks.ended_by]
        if quiet:
            yield from self._below(f"changed nothing: {', '.join(quiet)}", "dim")
        for name, why in hooks.left_out.items():
            yield from self._below(f"{name} was not tried again: {why}", "dim")
        other = _otherwise(receipt, hooks)
        if other:
            told = receipt.archived.configuration if receipt.archived is not None else receipt.configuration
            changed_since = bool(told) and told != self._story.configuration
            since = "the configuration" if changed_since else "something that a hook reads"
            text = f"today something else would come of it, as {since} has changed since: {', '.join(other)}"
            yield from self._below(text, "yellow")

    def _fate(self, receipt: Receipt) -> Iterator[str]:
        turned = receipt.discarded
        if turned is not None:
            place = f"offset {turned.offset:,} of discarded"
            yield self._entry(_BAD, "discarded", self._when(turned.at_ms), place)
            yield from self._below(f"by {turned.by}: {turned.code}", "red")
            yield from self._below(turned.message)
            for line in turned.traceback.splitlines():
                yield from self._below(line, "dim")
        elif receipt.archived is not None:
            yield self._entry(_GOOD, "archived", f"offset {receipt.archived.offset:,} of events")
        elif receipt.fate == "waiting":
            lag = f"{plural(receipt.behind, 'line')} before it" if receipt.behind else "it is the next one"
            yield self._entry(_WAITS, "waiting", f"the pipeline has not come to it: {lag}")
        else:
            yield self._entry(_NOTHING, "no trace", "neither in events nor in discarded")
            yield from self._below(
                "A hook discarded it without a record (a suppressed person), or what became of it was deleted or is "
                "no longer kept.",
                "dim",
            )

    # -- destinations --------------------------------------------------------------------------------------

    def _destination(self, one: Delivered) -> Iterator[str]:
        when = ""
        if one.state == "delivered":
            when = self._when(next(each.at_ms for each in reversed(one.tries) if each.outcome == "delivered"))
        elif one.parked is not None:
            when = self._when(one.parked.at_ms)
        yield self._entry(_STATES[one.state], one.name, one.state, when, f"({one.code})" if one.code else "")
        if one.before_it is not None:
            yield from self._waiting(one)
        yield from self._below(one.text, "dim")
        for text, colour in _tries(one.tries):
            yield from self._below(text, colour)
        if one.parked is not None:
            its = one.parked
            if not one.tries:
                yield from self._below(its.reason, "red")
            tries = "1 try" if its.attempts == 1 else f"{its.attempts:,} tries"
            yield from self._below(
                f"parked as number {its.id} after {tries}: `cdpd parked show {its.id}` has request and answer, "
                f"`cdpd parked retry {its.id}` sends it again"
            )

    def _waiting(self, one: Delivered) -> Iterator[str]:
        """What it waits for."""
        now = self._story.now_ms
        lag = f"{plural(one.before_it, 'line')} of events before it" if one.before_it else "the first in line"
        if one.next_ms is not None and one.next_ms > now:
            lag += f"; the next try is due within {_duration((one.next_ms - now) / 1000)}, or when others get through"
        elif one.next_ms is not None:
            lag += "; the next try comes when others get through, or the daemon runs again"
        yield from self._below(lag)
        head = one.first_in_line
        if head is not None:
            outcome = _OUTCOMES.get(head.outcome, head.outcome)
            reason = f": {head.reason}" if head.reason else ""
            text = f"the first in line was tried {_ago(now - head.at_ms)}, {outcome}{reason}"
            yield from self._below(text, "dim")

    # -- lines ---------------------------------------------------------------------------------------------

    def _entry(self, mark: Mark, name: str, *parts: str) -> str:
        sign, colour = mark
        name = self._paint(f"{printable(name):<{_NAME}}", "bold")
        return "  ".join([f"{self._paint(sign, colour)} {name}", *(part for part in parts if part)]).rstrip()

    def _below(self, text: str, colour: str | None = None) -> Iterator[str]:
        """Under an entry, wrapped; what the text is indented by, its further lines are too."""
        text = printable(text)
        if not text:
            return
        inner = _INDENT + text[: len(text) - len(text.lstrip())]
        lines = [text.strip()]
        if self._width is not None:
            lines = textwrap.wrap(text.strip(), max(self._width - len(inner), 30), break_on_hyphens=False)
        for line in lines:
            yield inner + (line if colour is None else self._paint(line, colour))

    def _when(self, ms: int | None) -> str:
        """A moment and how long ago it is."""
        if ms is None:
            return ""
        return f"{_moment(ms)} UTC  {self._paint(_ago(self._story.now_ms - ms), 'dim')}"

    def _paint(self, text: str, colour: str) -> str:
        return paint(text, colour, self._colours)


def not_found(story: Story, source: str | None) -> str:
    """What to say where there is no such event: where was looked, and what could be the matter."""
    of = f" of source {source}" if source is not None else ""
    lines = [f"no event{of} has the messageId {story.message_id!r}. It was looked for in:"]
    for one in story.searched:
        lines.append(f"  {one.stream:<10} {_span(one)}")
    lines += [f"  {text}" for text in _unread(story)]
    lines += [
        "The whole id is needed, as it was sent. What is older is no longer kept ([log.received] keep, "
        "[log.discarded] keep);",
        "what a hook discards without a record (a suppressed person) leaves no trace. `cdpd tail --stream received` "
        "shows what comes in.",
    ]
    return "\n".join(lines)


def _unread(story: Story) -> Iterator[str]:
    for one in story.searched:
        for text in one.unread:
            yield f"not looked at, since it is damaged: {one.stream}, {text} (see `cdpd log verify`)"


def _span(one: Searched) -> str:
    if one.end <= one.first:
        return "nothing is stored there"
    times = [_moment(ms)[:19] for ms in (one.from_ms, one.to_ms) if ms]
    kept = f", kept for {one.keep}" if one.keep and one.keep != "forever" else ""
    return f"{plural(one.end - one.first, 'line')}, {' to '.join(dict.fromkeys(times))} UTC{kept}"


def _otherwise(receipt: Receipt, hooks: Hooks) -> list[str]:
    """What the hooks make of it today, where that is something else than they did."""
    now = f"{hooks.ended_by} would turn it away ({hooks.ended_code})" if hooks.ended_by else "it would go on"
    turned = receipt.discarded
    if turned is not None:
        alike = (turned.by, turned.code) == (hooks.ended_by, hooks.ended_code)
        return [] if alike or turned.by in hooks.left_out else [now]
    if receipt.archived is not None and hooks.ended_by:
        return [now]
    return [f"{sign} {path}" for path, sign in hooks.differs.items()]


def _tries(tries: Sequence[Try]) -> Iterator[tuple[str, str | None]]:
    """Each try, with the day where it is another; those that repeat the one before are counted."""
    day = ""
    for _, group in groupby(tries, key=lambda one: (one.outcome, one.status, one.reason, one.job)):
        first, *more = group
        outcome = _OUTCOMES.get(first.outcome, first.outcome) + (f" ({first.job})" if first.job else "")
        told = first.status is None or str(first.status) in first.reason
        said = "" if told or first.status is None else _status(first.status)
        others = f"with {plural(first.events - 1, 'other')}" if first.events > 1 else ""
        took = f"in {_duration(first.seconds)}"
        time, day = _time(first.at_ms, day)
        yield _joined(f"{time}  try {first.attempt}: {outcome}", said, took, others), None
        if first.reason:
            yield f"  {first.reason}", "dim"
        answer = first.answer.strip().partition("\n")[0][:_LONGEST]
        if answer and answer not in first.reason:
            yield f"  answer: {answer}", "dim"
        if more:
            number = more[-1].attempt
            which = f"try {number}" if len(more) == 1 else f"{len(more)} tries more, up to number {number}"
            time, day = _time(more[-1].at_ms, day)
            yield f"{time}  {which}: the same", None


def _time(ms: int, day: str) -> tuple[str, str]:
    """The time, with the day where that is another one than `day`; and the day."""
    text = _moment(ms)
    return text[11:] if text[:10] == day else text, text[:10]


def _moment(ms: int) -> str:
    return format_time(ms)[:23].replace("T", " ")


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _clock(receipt: Receipt) -> str:
    """How the client's clock stood to ours when it sent."""
    sent = parse_time(receipt.sent_at)
    if sent is None or receipt.at_ms is None:
        return ""
    ms = receipt.at_ms - sent
    if not ms:
        return "sent at the same moment by its own clock"
    return f"sent {_duration(abs(ms) / 1000)} {'earlier' if ms > 0 else 'later'} by its own clock"


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _ago(ms: int) -> str:
    """`3 min ago`."""
    return f"{_duration(ms / 1000)} ago" if ms >= 0 else f"in {_duration(-ms / 1000)}"


def _duration(seconds: float) -> str:
    """`35 ms`, `2.4 s`, `3 min`, `5 h`, `12 days`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
