"""A hook plugin that runs, and what becomes of the events that are sent through it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from cdpd import discovery
from cdpd.clock import Clock
from cdpd.config.model import Config, PipelineConfig
from cdpd.config.plugin_options import Installed
from cdpd.event import Event, Position, Received, Via, Violation
from cdpd.pipeline.chain import Chain, Chains, Instance
from cdpd.pipeline.discarded import Ended
from cdpd.pipeline.output import event_line
from cdpd.pipeline.pace import Pace
from cdpd.pipeline.passage import AskAgain, Passage, TooManyFailures
from cdpd.pipeline.watch import Watch
from cdpd.plugins import Plugin, PluginEnv, Source, Streams
from cdpd.testing.clock import FakeClock
from cdpd.testing.events import AT_MS, VIA, make_event
from cdpd.testing.log import KeptLog
from cdpd.testing.options import configured

_TESTED: Final = "tested"
_OPTIONS: Final = PipelineConfig(stop_after_failures=1)
"""The first failure ends it: a test wants to see the exception itself."""


class Discarded(Struct, frozen=True):
    """An event that ended here."""

    message_id: str
    by: str
    """The plugin: `tested`, or one that ran before it."""
    code: str
    message: str
    record: bool


class Passed(Struct, frozen=True):
    """What became of events that were sent together."""

    events: list[dict[str, Any]]
    """Those that go on, as they will stand in `events`, in order."""
    discarded: list[Discarded]
    violations: list[Violation]
    """What was reported, of all events."""

    @property
    def event(self) -> dict[str, Any]:
        """The one that goes on. Raises ValueError where it is not exactly one."""
        (event,) = self.events
        return event


class RunningHook:
    """A plugin between its startup and its shutdown."""

    def __init__(self, chains: Chains, clock: Clock, log: KeptLog) -> None:
        self.log = log
        """What it says."""
        self._chains = chains
        self._clock = clock
        self._watch = Watch(clock, log.log)
        self._sent = 0

    @property
    def plugin(self) -> Any:
        """The plugin itself."""
        return self._tested.plugin

    @property
    def _tested(self) -> Instance:
        return self._chains.instances[_TESTED]

    async def send(
        self, *events: Mapping[str, Any] | Event, source: Source | str = "website", via: Via = VIA
    ) -> Passed:
        """Send events through, as one slice of one source; a mapping is filled in as `make_event` does.

        Every hook is called as the pipeline calls it, `cdpd_committed` included. What a hook raises is raised here,
        Retry too.
        """
        source = Source(source) if isinstance(source, str) else source
        slice_ = [self._made(event, source, via) for event in events]
        chain = Chain(source, list(self._chains.instances.values()))
        chains = Chains(self._chains.instances, {source.name: chain})
        passage = Passage(chains, _OPTIONS, Pace(self._clock), self._clock, self._watch)
        try:
            left = await passage.run(slice_)
        except (AskAgain, TooManyFailures) as error:
            raise (error.__cause__ or error) from None
        if left:
            for instance in chain.hooks:
                if instance.committed is not None:
                    instance.committed(left, Position(self._sent + 1, 1))
        project = Raw(msgspec.json.encode(source.name))
        return Passed(
            [msgspec.json.decode(event_line(event, project)) for event in left],
            [_discarded(event, passage.ended) for event in slice_ if _offset(event) in passage.ended],
            [violation for event in slice_ for violation in event.violations],
        )

    def _made(self, event: Mapping[str, Any] | Event, source: Source, via: Via) -> Event:
        self._sent += 1
        if not isinstance(event, Event):
            return make_event(event, self._sent, source=source.name, via=via)
        place = Position(self._sent, 1)
        if event.received is None:
            event.received = Received(AT_MS, place, event.message_id, source.name, via=via, log_ms=AT_MS)
        else:
            event.received = msgspec.structs.replace(event.received, position=place, source=source.name)
        return event


def _offset(event: Event) -> int:
    assert event.received is not None
    return event.received.position.offset


def _discarded(event: Event, ended: Mapping[int, Ended]) -> Discarded:
    why = ended[_offset(event)]
    return Discarded(event.message_id, why.by, why.code, why.message, why.record)


@asynccontextmanager
async def running_hook(
    plugin: type[Plugin],
    options: Mapping[str, object] | None = None,
    *,
    before: Sequence[str] = (),
    clock: Clock | None = None,
    state_dir: Path | None = None,
    streams: Streams | None = None,
) -> AsyncIterator[RunningHook]:
    """Make a plugin of its `[hooks.NAME]` options, start it, and shut it down at the end.

    `before`: installed hooks that run before it, e.g. `["spec"]`. `state_dir`: its own folder; default: a temporary
    one. `streams`: for a plugin that reads the log. Raises ConfigError where the options are wrong, and HookError
    where the plugin breaks the contract or does not start.
    """
    clock = clock or FakeClock()
    told = KeptLog()
    values = dict(options or {})
    configured(plugin.Config, values)
    with tempfile.TemporaryDirectory(prefix="cdpd-testing-") as temporary:
        folder = state_dir or Path(temporary) / "state"

        def env(name: str) -> PluginEnv:
            own = folder if name == _TESTED else Path(temporary) / name
            return PluginEnv(name, own, streams or _NoStreams(), clock, told.log)

        config = Config(
            pipeline=msgspec.structs.replace(_OPTIONS, hooks=[*before, _TESTED]), hooks={_TESTED: values}
        )
        chains = Chains.build(config, _Catalogue(plugin), env)
        await chains.startup()
        try:
            yield RunningHook(chains, clock, told)
        finally:
            await chains.shutdown()


class _Given(Struct, frozen=True):
    """A plugin class as if it were installed."""

    plugin: type[Plugin]
    distribution: str = "the package that is tested"

    def load(self) -> type[Plugin]:
        return self.plugin


class _Catalogue:
    """The installed hooks, and the tested one."""

    def __init__(self, plugin: type[Plugin]) -> None:
        self._plugin = plugin

    def hooks(self) -> Mapping[str, Installed]:
        return {**discovery.hooks(), _TESTED: _Given(self._plugin)}

    def destinations(self) -> Mapping[str, Installed]:
        return {}


class _NoStreams:
    """For plugins that read no stream; one that does is given its own by the test."""

    def _missing(self) -> Any:
        raise NotImplementedError(
            "this plugin reads the log: give running_hook(…, streams=…) something to read"
        )

    def reader(self, stream: str, position: Position) -> Any:  # noqa: ARG002 - as Streams has it
        return self._missing()

    def end(self, stream: str) -> Any:  # noqa: ARG002 - as Streams has it
        return self._missing()

    def at_time(self, stream: str, ms: int) -> Any:  # noqa: ARG002 - as Streams has it
        return self._missing()
