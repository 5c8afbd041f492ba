"""What `cdpd trace` prints for people: a timeline of each time that the event came in."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

from cdpd.cli.output import plural
from cdpd.difference import difference, shown
from cdpd.terminal import paint, printable
from cdpd.timestamp import format_time, parse_time
from cdpd.trace.story import Delivered, Hooks, Receipt, Searched, Story, Try

_MARKS: Final = {"good": ("●", "green"), "bad": ("✗", "red"), "wait": ("◌", "yellow"), "none": ("○", "dim")}
_STATES: Final = {
    "delivered": "good",
    "skipped": "none",
    "parked": "bad",
    "refused": "bad",
    "retrying": "wait",
    "waiting": "wait",
    "not begun": "wait",
    "done": "none",
    "passed over": "none",
    "not connected": "none",
    "filtered": "none",
}
_OUTCOMES: Final = {
    "delivered": "delivered",
    "skipped": "skipped",
    "retry": "to be tried again",
    "rate_limited": "told to slow down",
    "resend": "to be sent again, without others",
    "too_large": "the request was too large",
    "bad_event": "refused for good",
    "bad_config": "a setting is wrong",
    "bad_credentials": "the credentials were refused",
}
_COLUMN: Final = 12
"""Where the text of an entry begins."""
_MOST_TRIES: Final = 12
"""Lines of attempts; of more, the first and the last ones."""


class TraceReport:
    """The text of a story. `width`: columns to wrap at; None: as long as a line is."""

    def __init__(self, story: Story, *, width: int | None = None, colours: bool = False) -> None:
        self._story = story
        self._width = width
        self._colours = colours

    def text(self) -> str:
        story = self._story
        blocks = ["\n".join(self._receipt(number, one)) for number, one in enumerate(story.receipts)]
        blocks += [self._paint(note, "yellow") for note in [*story.notes, *self._unread()]]
        return "\n\n".join(blocks) + "\n"

    def _unread(self) -> Iterator[str]:
        for one in self._story.searched:
            for text in one.unread:
                yield f"not looked at, since it is damaged: {one.stream}, {text} (see `cdpd log verify`)"

    # -- one receipt ---------------------------------------------------------------------------------------

    def _receipt(self, number: int, receipt: Receipt) -> Iterator[str]:
        story = self._story
        title = [self._paint(printable(story.message_id), "bold")]
        what = " ".join(part for part in (receipt.type or "?", receipt.name and f"“{receipt.name}”") if part)
        title += [printable(part) for part in (what, receipt.source, receipt.who) if part]
        if len(story.receipts) > 1:
            title.append(f"{number + 1} of {len(story.receipts)} receipts")
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
            place += ", which no longer has it" if place else "received no longer has it"
        mark = "bad" if receipt.reject else "good"
        yield self._entry(mark, "received", self._when(receipt.at_ms), place)
        request = f"POST {receipt.path}" if receipt.path else ""
        if receipt.ip:
            request += f" from {receipt.ip}" if request else f"from {receipt.ip}"
        origin = f"origin {receipt.origin}" if receipt.origin else ""
        yield from self._below(_joined(request, origin))
        retry = f"the client's try number {receipt.retry + 1}" if receipt.retry else ""
        yield from self._below(_joined(receipt.sdk or receipt.user_agent, retry, _clock(receipt)))
        if receipt.retry_of is not None:
            yield from self._below(f"sent through again: it repeats offset {receipt.retry_of:,} of received")
        if receipt.reject:
            yield from self._below(f"ingest gave it to no hook: {receipt.reject}", "red")

    def _hooks(self, receipt: Receipt, hooks: Hooks) -> Iterator[str]:
        if hooks.problem:
            yield self._entry("none", "hooks", "")
            yield from self._below(hooks.problem, "dim")
            return
        changing = {step.hook for step in hooks.steps}
        quiet = [name for name in hooks.names if name not in changing]
        yield self._entry("good", "hooks", f"{len(hooks.names)} tried again, {len(changing)} changed it")
        for step in hooks.steps:
            yield from self._below(step.hook, "cyan")
            lines = shown(
                difference(step.before, step.after), self._colours, self._width, " " * (_COLUMN + 2)
            )
            yield from lines
        for one in hooks.violations:
            where = f" at {one['path']}" if one["path"] else ""
            yield from self._below(f"{one['by']} found: {one['code']}{where}: {one['message']}", "yellow")
        if quiet:
            yield from self._below(f"changed nothing: {', '.join(quiet)}", "dim")
        for name, why in hooks.left_out.items():
            yield from self._below(f"not tried again: {name}, {why}", "dim")
        yield from self._told_otherwise(receipt, hooks)

    def _told_otherwise(self, receipt: Receipt, hooks: Hooks) -> Iterator[str]:
        """Where the hooks make something else of it today than they did."""
        then = "" if receipt.discarded is None else f"{receipt.discarded.by}: {receipt.discarded.code}"
        other = [f"{sign} {path}" for path, sign in hooks.differs.items()]
        if receipt.archived is not None and hooks.outcome:
            other = [f"it would be turned away by {hooks.outcome}"]
        elif (
            then
            and hooks.outcome != then
            and (receipt.discarded and receipt.discarded.by not in hooks.left_out)
        ):
            other = [f"it would be turned away by {hooks.outcome}" if hooks.outcome else "it would go on"]
        if not other:
            return
        stored = receipt.archived.configuration if receipt.archived is not None else receipt.configuration
        why = (
            "the configuration has changed since"
            if stored and stored != self._story.configuration
            else "something that a hook reads has changed since"
        )
        yield from self._below(f"today something else would come out ({why}): {', '.join(other)}", "yellow")

    def _fate(self, receipt: Receipt) -> Iterator[str]:
        if receipt.discarded is not None:
            its = receipt.discarded
            place = f"offset {its.offset:,} of discarded"
            yield self._entry("bad", "discarded", self._when(its.at_ms), place)
            yield from self._below(f"by {its.by}: {its.code}", "red")
            yield from self._below(its.message)
            for line in its.traceback.splitlines():
                yield from self._below(line, "dim")
        elif receipt.archived is not None:
            its_place = f"offset {receipt.archived.offset:,} of events"
            yield self._entry("good", "archived", its_place)
        elif receipt.fate == "waiting":
            ahead = f"{plural(receipt.behind, 'line')} before it" if receipt.behind else "it is the next one"
            yield self._entry("wait", "waiting", f"the pipeline has not come to it: {ahead}")
        elif receipt.fate == "no trace":
            yield self._entry("none", "no trace", "neither in events nor in discarded")
            text = "A hook discarded it without a record (a suppressed person), its line was deleted, or is no longer kept."
            yield from self._below(text, "dim")

    # -- destinations --------------------------------------------------------------------------------------

    def _destination(self, one: Delivered) -> Iterator[str]:
        last = one.tries[-1] if one.tries else None
        when = ""
        if one.state == "delivered" and last is not None:
            when = self._when(next(each.at_ms for each in reversed(one.tries) if each.outcome == "delivered"))
        elif one.state == "parked" and one.parked is not None:
            when = self._when(one.parked.at_ms)
        code = f"({one.code})" if one.code else ""
        yield self._entry(_STATES[one.state], one.name, _spaced(one.state, when, code))
        if one.before_it is not None:
            yield from self._below(self._waits(one))
        yield from self._below(one.text, "dim")
        for text, colour in _tries(one.tries, self._moment):
            yield from self._below(text, colour)
        if one.parked is not None:
            its = one.parked
            again = f"`cdpd parked retry --id {its.id}` sends it again"
            yield from self._below(f"refused: {its.reason}", "red")
            yield from self._body("request", its.request)
            yield from self._body("answer", its.answer)
            yield from self._below(f"parked as number {its.id} after {plural(its.attempts, 'try')}; {again}")

    def _waits(self, one: Delivered) -> str:
        lag = (
            f"{plural(one.before_it or 0, 'event')} before it" if one.before_it else "it is the first in line"
        )
        if one.next_ms is None:
            return lag
        seconds = (one.next_ms - self._story.now_ms) / 1000
        then = f"in about {_duration(seconds)}" if seconds > 0 else "any moment"
        return f"{lag}; the next try is due {then}"

    def _body(self, name: str, text: str) -> Iterator[str]:
        first = text.strip().partition("\n")[0]
        if first:
            yield from self._below(f"{name}: {first[:400]}", "dim")

    # -- lines ---------------------------------------------------------------------------------------------

    def _entry(self, mark: str, name: str, *parts: str) -> str:
        sign, colour = _MARKS[mark]
        name = printable(name)
        padded = self._paint(f"{name:<{_COLUMN - 2}}", "bold")
        text = "  ".join(part for part in parts if part)
        return f"{self._paint(sign, colour)} {padded} {text}".rstrip()

    def _below(self, text: str, colour: str | None = None) -> Iterator[str]:
        """Under an entry, wrapped."""
        text, indent = printable(text), " " * (_COLUMN + 1)
        if not text:
            return
        lines = [text]
        if self._width is not None:
            lines = textwrap.wrap(text, max(self._width - len(indent), 30), break_on_hyphens=False)
        for line in lines:
            yield indent + (line if colour is None else self._paint(line, colour))

    def _when(self, ms: int | None) -> str:
        """A moment and how long ago it is."""
        if ms is None:
            return ""
        return f"{self._moment(ms)}  {self._paint(ago(self._story.now_ms - ms), 'dim')}"

    def _moment(self, ms: int) -> str:
        return format_time(ms)[:23].replace("T", " ")

    def _paint(self, text: str, colour: str) -> str:
        return paint(text, colour, self._colours)


def not_found(story: Story, source: str | None) -> str:
    """What to say where there is no such event: where was looked, and what could be the matter."""
    of = f" of source {source}" if source is not None else ""
    lines = [f"no event{of} has the messageId {story.message_id!r}. Looked for it in:"]
    for one in story.searched:
        lines.append(f"  {one.stream:<10}{_span(one)}")
        lines += [f"  {'':<10}not looked at, since it is damaged: {text}" for text in one.unread]
    lines.append(
        "The whole id is needed, as it was sent. What came in before these times is no longer kept "
        "([log.received] keep, [log.discarded] keep); what a hook discards without a record leaves no trace."
    )
    return "\n".join(lines)


def _span(one: Searched) -> str:
    if one.end <= one.first:
        return "nothing is stored there"
    times = " to ".join(format_time(ms)[:19].replace("T", " ") for ms in (one.from_ms, one.to_ms) if ms)
    kept = f", kept for {one.keep}" if one.keep and one.keep != "forever" else ""
    return f"{plural(one.end - one.first, 'line')}, {times} UTC{kept}"


def _tries(tries: Sequence[Try], moment: object) -> Iterator[tuple[str, str | None]]:
    """Each attempt on a line; of many the first and the last ones."""
    half = _MOST_TRIES // 2
    for number, one in enumerate(tries):
        if len(tries) > _MOST_TRIES and number == half:
            yield f"… {len(tries) - _MOST_TRIES} more …", "dim"
        if len(tries) > _MOST_TRIES and half <= number < len(tries) - half:
            continue
        answered = "" if one.status is None else f"{one.status} {_phrase(one.status)}".rstrip()
        others = f"with {plural(one.events - 1, 'other')}" if one.events > 1 else ""
        by = f"({one.job})" if one.job else ""
        at = format_time(one.at_ms)[11:23] if number else format_time(one.at_ms)[:23].replace("T", " ")
        text = _joined(
            f"{at} try {one.attempt}: {_OUTCOMES.get(one.outcome, one.outcome)} {by}".rstrip(),
            answered,
            f"in {_duration(one.seconds)}",
            others,
        )
        yield text, None
        if one.reason:
            yield f"  {one.reason}", "dim"
        if one.answer:
            yield f"  answer: {one.answer.strip().partition(chr(10))[0][:400]}", "dim"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _clock(receipt: Receipt) -> str:
    """How the client's clock stood to ours when it sent."""
    sent = parse_time(receipt.sent_at)
    if sent is None or receipt.at_ms is None:
        return ""
    seconds = (receipt.at_ms - sent) / 1000
    if abs(seconds) < 0.001:
        return "sent at the same time by its own clock"
    return f"sent {_duration(abs(seconds))} {'earlier' if seconds > 0 else 'later'} by its own clock"


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _spaced(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def ago(ms: int) -> str:
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
