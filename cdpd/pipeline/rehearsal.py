"""A rehearsal: stored lines of `received` through the chains of a configuration, to see what would become of them.

Nothing is written: plugins get a temporary folder as their own, hear of no commit and serve no routes. Those that say
that they cannot be rehearsed (`Plugin.not_rehearsed`) are left out.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.data_folder import stream_folder
from cdpd.config.load import LoadedConfig
from cdpd.config.model import PipelineConfig
from cdpd.config.plugin_options import Catalogue
from cdpd.event import Event, Position, Violation
from cdpd.log.folder import StreamFolder
from cdpd.log.reader import Frame, Reader
from cdpd.pipeline.chain import Chain, Chains
from cdpd.pipeline.discarded import Ended
from cdpd.pipeline.instance import Instance
from cdpd.pipeline.line import Lines, Refused
from cdpd.pipeline.output import event_line
from cdpd.pipeline.pace import Pace
from cdpd.pipeline.passage import AskAgain, Passage
from cdpd.pipeline.watch import Watch
from cdpd.plugins import PluginEnv

UNDECIDED: Final = "undecided"
"""Code of an event that a plugin could not decide about: it raised Retry, or its cdpd_prepare was too late."""
_NEVER: Final = 2**62
"""Failures in a row: a rehearsal goes on, since nothing is poured into `discarded`."""


class StoredLine(Struct, frozen=True, gc=False):
    """A line of `received`; `position` is where a reader that begins with it starts (`Received.position`)."""

    position: Position
    text: bytes
    log_ms: int = 0
    """Log time of its frame; 0 where it is not known (only plugins that look at it notice)."""


class Step(Struct, frozen=True, gc=False):
    """A hook that changed an event: its line of `events` before and after."""

    hook: str
    before: bytes
    after: bytes


class Rehearsed(Struct):
    """What would become of a line: `line` where it goes on, `ended` where it does not; never both."""

    position: Position
    source: str
    message_id: str = ""
    """"" where the line could not be read."""
    line: bytes | None = None
    """As it would stand in `events`."""
    ended: Ended | None = None
    """By whom it is turned away and why. A hook that raises is one (HOOK_ERROR), and so is UNDECIDED."""
    steps: Sequence[Step] = ()
    """Only hooks that changed something, in order; those of an event that ended too."""
    violations: Sequence[Violation] = ()


class Rehearsal:
    """Made by `rehearsing`."""

    def __init__(
        self,
        chains: Chains,
        left_out: Mapping[str, str],
        options: PipelineConfig,
        clock: Clock,
        steps: Container[str],
    ) -> None:
        self.left_out = left_out
        """Hooks that are not rehearsed → why."""
        self._chains = chains
        self._options = msgspec.structs.replace(options, stop_after_failures=_NEVER)
        self._clock = clock
        self._pace = Pace(clock)
        self._watch = Watch(clock, silent())
        self._lines = Lines()
        self._recording: dict[str, _Recording] = {}
        self._recorded = Chains(
            chains.instances,
            {
                name: self._with_recording(one) if name in steps else one
                for name, one in chains.sources.items()
            },
        )

    def _with_recording(self, chain: Chain) -> Chain:
        recording = self._recording[chain.source.name] = _Recording()
        hooks = [recording.instance("")]
        for hook in chain.hooks:
            hooks.append(hook)
            if hook.prepare is not None or hook.validate is not None or hook.enrich is not None:
                hooks.append(recording.instance(hook.name))
        return Chain(chain.source, hooks)

    def hooks(self, source: str) -> list[str] | None:
        """Names of the hooks that a source's events are rehearsed with; None where there is no such source."""
        chain = self._chains.of(source)
        return None if chain is None else [hook.name for hook in chain.hooks]

    async def run(self, lines: Sequence[StoredLine]) -> list[Rehearsed]:
        """What would become of each line, in order (holes have none). Up to about a thousand at once.

        All that a hook may do, raising and asking for another attempt included, is in the results.
        """
        events: list[Event] = []
        refused: list[Refused] = []
        for frame in _frames(lines):
            self._lines.decode(frame, 0, frame.count, events, refused)
        ended = {one.offset: Ended(one.offset, one.source, one.by, one.code, one.message) for one in refused}
        groups: dict[str, list[Event]] = {}
        for event in events:
            assert event.received is not None
            groups.setdefault(event.received.source, []).append(event)
        for recording in self._recording.values():
            recording.clear()
        for group in groups.values():
            ended |= await self._pass(group)
        by_offset = {event.received.position.offset: event for event in events if event.received is not None}
        return [
            self._result(line, by_offset.get(offset), ended.get(offset))
            for line in lines
            if (offset := line.position.offset) in by_offset or offset in ended
        ]

    async def _pass(self, events: Sequence[Event]) -> dict[int, Ended]:
        """Bring events of one source through; those that end, by offset."""
        passage = Passage(self._recorded, self._options, self._pace, self._clock, self._watch)
        try:
            await passage.run(events)
        except AskAgain as again:
            for event in events:
                received = event.received
                assert received is not None
                offset = received.position.offset
                if offset not in passage.ended:
                    passage.ended[offset] = Ended(
                        offset, received.source, again.plugin, UNDECIDED, again.reason
                    )
        return passage.ended

    def _result(self, line: StoredLine, event: Event | None, ended: Ended | None) -> Rehearsed:
        if event is None or event.received is None:
            return Rehearsed(line.position, ended.source if ended is not None else "", ended=ended)
        received = event.received
        recording = self._recording.get(received.source)
        return Rehearsed(
            received.position,
            received.source,
            received.message_id,
            None if ended is not None else event_line(event, self._lines.project(received.source)),
            ended,
            () if recording is None else recording.steps.get(received.position.offset, ()),
            tuple(event.violations) if event.violations else (),
        )


class _Recording:
    """Notes how events look between the hooks of one chain, as hooks of that chain."""

    def __init__(self) -> None:
        self.steps: dict[int, list[Step]] = {}
        """By offset."""
        self._latest: dict[int, bytes] = {}

    def clear(self) -> None:
        """Forget the last lines."""
        self.steps.clear()
        self._latest.clear()

    def instance(self, hook: str) -> Instance:
        """To be called right after `hook`; with "" before the first."""
        steps, latest = self.steps, self._latest

        def begin(event: Event, _: object) -> None:
            assert event.received is not None
            latest[event.received.position.offset] = event.line()

        def note(event: Event, _: object) -> None:
            assert event.received is not None
            offset = event.received.position.offset
            after = event.line()
            before = latest[offset]
            if after != before:
                steps.setdefault(offset, []).append(Step(hook, before, after))
                latest[offset] = after

        return Instance(hook, "", {}, None, silent(), enrich=note if hook else begin)


def _frames(lines: Sequence[StoredLine]) -> list[Frame]:
    """Lines that follow one another, together."""
    frames: list[Frame] = []
    texts: list[bytes] = []
    for line in lines:
        at = line.position
        last = frames[-1] if frames else None
        if last is None or (last.base + len(texts), last.epoch, last.last_ms) != (
            at.offset,
            at.epoch,
            line.log_ms,
        ):
            texts = []
            frames.append(Frame(at.offset, 0, at.epoch, line.log_ms, line.log_ms, 0, texts))
        texts.append(line.text)
    return [msgspec.structs.replace(frame, count=len(frame.lines)) for frame in frames]


@asynccontextmanager
async def rehearsing(
    loaded: LoadedConfig, catalogue: Catalogue, clock: Clock, *, steps: Container[str] | None = None
) -> AsyncIterator[Rehearsal]:
    """The chains of a configuration, started for a rehearsal inside the `with`.

    `steps`: sources of which results say what each hook changed; None: all. Raises HookError where a hook cannot be
    made or started.
    """
    with tempfile.TemporaryDirectory(prefix="cdpd-rehearsal-") as temporary:
        chains = Chains.build(
            loaded.config, catalogue, _environments(Path(temporary), loaded.data_dir, clock)
        )
        left_out = {
            name: str(instance.plugin.not_rehearsed)
            for name, instance in chains.instances.items()
            if instance.plugin.not_rehearsed
        }
        chains = chains.without(left_out)
        await chains.startup()
        try:
            told = chains.sources if steps is None else steps
            yield Rehearsal(chains, left_out, loaded.config.pipeline, clock, told)
        finally:
            await chains.shutdown()


def _environments(folder: Path, data_dir: Path, clock: Clock) -> Callable[[str], PluginEnv]:
    streams, log = _Stored(data_dir), silent()
    return lambda name: PluginEnv(name, folder / name, streams, clock, log)


class _Stored:
    """Reading the streams of a data folder, whether a daemon runs on it or not (cdpd.plugins.Streams)."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def _folder(self, stream: str) -> StreamFolder:
        return StreamFolder(stream_folder(self._data_dir, stream))

    def reader(self, stream: str, position: Position) -> Reader:
        return self._folder(stream).reader(position)

    def end(self, stream: str) -> Position:
        return self._folder(stream).end()

    def at_time(self, stream: str, ms: int) -> Position:
        return self._folder(stream).at_time(ms)


def silent() -> structlog.typing.FilteringBoundLogger:
    """A log that nobody reads: what goes wrong is in the results."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        None, processors=[_drop], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
    )
    return logger


def _drop(_: object, __: str, ___: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent
