"""The import itself: files are read in order, their events sent in batches, and what is done is noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import msgspec
from msgspec import Struct, field

from cdpd.bring.batch import MAX_BYTES, MAX_EVENTS, Item
from cdpd.bring.event import BadLine, Brought, Treatment
from cdpd.bring.inputs import Found, Inputs
from cdpd.bring.mapping import Columns
from cdpd.bring.progress import Progress, State
from cdpd.bring.reading import Changed, Format, Mark, Reading
from cdpd.bring.sending import Answer, Interrupted, Stopped
from cdpd.bring.unpack import Unreadable

MOST_NAMES: Final = 1000
"""Names of events that are counted apart."""
OTHERS: Final = "(others)"


class Wanted(Struct, frozen=True):
    """Which events, and how they are read and treated."""

    treatment: Treatment
    form: Format = "auto"
    columns: Columns | None = None
    from_ms: int | None = None
    """Happened at or after this time, milliseconds since the epoch …"""
    to_ms: int | None = None
    """… and before this one."""
    limit: int | None = None
    """End after so many events, and the line that holds the last of them."""
    restart: bool = False
    """Forget what earlier runs did."""
    strict: bool = False
    """Stop at the first line that holds no event."""

    def takes(self, at_ms: int | None) -> bool:
        """Whether an event of that time is wanted; one without any only where no times are asked for."""
        if at_ms is None:
            return self.from_ms is None and self.to_ms is None
        return (self.from_ms is None or at_ms >= self.from_ms) and (self.to_ms is None or at_ms < self.to_ms)


class Tally(Struct):
    """What an import came to."""

    files: int = 0
    files_before: int = 0
    """Done by an earlier run."""
    files_broken: int = 0
    events: int = 0
    """On the daemon's disk."""
    rejected: int = 0
    """Of these: turned away for their size or form; `cdpd discarded` shows them."""
    outside: int = 0
    """Outside the times that were asked for."""
    bad_lines: int = 0
    untimed: int = 0
    """Events that do not say when they happened."""
    first_ms: int | None = None
    last_ms: int | None = None
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, name) → events."""

    def add(self, event: Brought) -> None:
        key = (event.kind, event.name)
        self.kinds[key if key in self.kinds or len(self.kinds) < MOST_NAMES else (event.kind, OTHERS)] += 1
        self.untimed += not event.timed
        if event.timed and event.at_ms is not None:
            self.first_ms = event.at_ms if self.first_ms is None else min(self.first_ms, event.at_ms)
            self.last_ms = event.at_ms if self.last_ms is None else max(self.last_ms, event.at_ms)


class Watch(Protocol):
    """Who is told how it goes."""

    def say(self, text: str) -> None:
        """Something that a person should know."""
        ...

    def bad(self, place: str, message: str) -> None:
        """A line that holds no event."""
        ...

    def read(self, count: int) -> None:
        """So many bytes more were read."""
        ...

    def sent(self, count: int) -> None:
        """So many events more are on the daemon's disk."""
        ...


class OtherTreatment(Stopped):
    """A file was imported in another way before."""


class BadLineMet(Stopped):
    """A line holds no event, and that was to end it."""


class Importer:
    """One run of an import. `send` returns once events are durable; `stop` says whether to end early."""

    def __init__(
        self,
        inputs: Inputs,
        wanted: Wanted,
        progress: Progress | None,
        send: Callable[[Sequence[Item]], Answer],
        watch: Watch,
        stop: Callable[[], bool],
    ) -> None:
        self.tally = Tally()
        self._inputs = inputs
        self._wanted = wanted
        self._progress = progress
        self._send = send
        self._watch = watch
        self._stop = stop
        treatment = wanted.treatment
        how = [treatment.received, treatment.deliver, wanted.columns]
        self._treatment = msgspec.json.encode(how).decode()
        self._batch: list[Item] = []
        self._size = 0
        self._done: dict[str, State] = {}
        """Files that the batch brings to their end."""

    def run(self) -> None:
        """Raises Stopped, and what `send` raises; what was sent up to then is noted."""
        if self._wanted.restart and self._progress is not None:
            self._progress.forget(self._inputs.found)
        for found in self._inputs.found:
            state = None if self._progress is None or self._wanted.restart else self._progress.of(found)
            if state is not None and state.treatment != self._treatment:
                self._flush()
                raise OtherTreatment(
                    f"{found.name} was imported with other options (--received, --deliver, columns) before; "
                    "--restart imports it again with these"
                )
            if state is not None and state.whole(found):
                self.tally.files_before += 1
                self._watch.read(found.size or 0)
                continue
            self.tally.files += 1
            try:
                self._file(found, state)
            except Unreadable as error:
                self.tally.files_broken += 1
                self._watch.say(f"{found.name}: {error}")
                self._flush()
                if self._wanted.strict:
                    raise Stopped("--strict: nothing after that file was read") from None
            if self._full():
                break
        self._flush()

    def _file(self, found: Found, state: State | None) -> None:
        try:
            self._read(found, state)
        except Changed:
            assert state is not None
            text = f"{found.name} is not what it was when its first {state.mark.lines:,} lines were imported"
            self._watch.say(f"{text}; it is read from the beginning")
            self._read(found, None)

    def _read(self, found: Found, state: State | None) -> None:
        wanted = self._wanted
        reading = Reading(self._pieces(found), wanted.form, wanted.columns, wanted.treatment, found.name)
        before = 0 if state is None else state.events
        first = self.tally.events + len(self._batch)

        def state_at(mark: Mark, done: bool = False) -> State:
            events = before + self.tally.events + len(self._batch) - first
            return State(found, mark, events, done, self._treatment)

        try:
            for unit in reading.units(None if state is None else state.mark):
                for event in unit:
                    self._take(event, found, reading)
                if len(self._batch) >= MAX_EVENTS or self._size >= MAX_BYTES or self._full():
                    self._flush(state_at(reading.mark))
                    if self._full():
                        return
                if self._stop():
                    self._flush(state_at(reading.mark))
                    raise Interrupted
        except (Unreadable, BadLineMet):
            settled = reading.settled
            further = settled.lines > (0 if state is None else state.mark.lines)
            self._flush(state_at(settled) if further else None)
            raise
        self._done[found.name] = state_at(reading.mark, done=True)

    def _take(self, event: Brought | BadLine, found: Found, reading: Reading) -> None:
        wanted = self._wanted
        if isinstance(event, BadLine):
            self.tally.bad_lines += 1
            self._watch.bad(f"{found.name}:{reading.lines}", event.message)
            if wanted.strict:
                raise BadLineMet(f"--strict: stopped at {found.name}:{reading.lines}")
        elif not wanted.takes(event.at_ms):
            self.tally.outside += 1
        else:
            self.tally.add(event)
            self._batch.append(event.item)
            self._size += event.item.size

    def _full(self) -> bool:
        limit = self._wanted.limit
        return limit is not None and self.tally.events + len(self._batch) >= limit

    def _flush(self, current: State | None = None) -> None:
        """Send what is waiting, then note how far its files are."""
        if self._batch:
            answer = self._send(self._batch)
            self.tally.events += answer.stored
            self.tally.rejected += answer.rejected
            self._watch.sent(answer.stored)
            self._batch, self._size = [], 0
        states = dict(self._done)
        if current is not None:
            states[current.found.name] = current
        if self._progress is not None and states:
            self._progress.note(states)
        self._done.clear()

    def _pieces(self, found: Found) -> Iterator[bytes]:
        for piece in self._inputs.open(found):
            yield piece
            self._watch.read(len(piece))
