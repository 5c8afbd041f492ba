"""Hook plugins applied to one event, as the chain would, without streams."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from cdpd.event import Event
from cdpd.hooks.ip import Ip
from cdpd.hooks.spec import Spec
from cdpd.hookspecs import Discard
from cdpd.log.reader import Frame
from cdpd.pipeline.instance import Instance, make_instance
from cdpd.pipeline.line import Lines, Refused
from cdpd.pipeline.output import event_line
from cdpd.plugins import Plugin, PluginEnv, Source
from tests.clock import FakeClock
from tests.pipeline.rig import InstalledClass, Told, received_line


class Outcome(Struct):
    """What became of an event."""

    text: bytes
    """Its line of `events`, as it would be."""
    discard: Discard | None
    violations: list[tuple[str, str]]
    """(code, path)"""

    @property
    def code(self) -> str | None:
        return None if self.discard is None else self.discard.code

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = msgspec.json.decode(self.text)
        return event


def decoded(line: bytes) -> Event:
    """The event of a line of `received`."""
    events: list[Event] = []
    refused: list[Refused] = []
    Lines().decode(Frame(0, 1, 1, 0, 0, 0, [line]), 0, 1, events, refused)
    assert not refused
    return events[0]


def apply(
    plugin: type[Plugin],
    event: Event,
    options: Mapping[str, Any] | None = None,
    source: Source | None = None,
) -> Discard | None:
    """Run a plugin's three hooks on an event."""
    told = Told()

    def env(name: str) -> PluginEnv:
        return PluginEnv(name, Path("unused"), None, FakeClock(), told.log)  # type: ignore[arg-type]  # no streams

    hook = make_instance("tested", "tested", dict(options or {}), InstalledClass(plugin), env)
    source = source or Source("website")
    if hook.validate is not None:
        hook.validate(event, source)
    if hook.enrich is not None:
        hook.enrich(event, source)
    return hook.filter(event, source) if hook.filter is not None else None


def normalised(
    event: Mapping[str, Any] | bytes,
    *,
    type_of_source: str | None = None,
    ip_options: Mapping[str, Any] | None = None,
    **line: Any,
) -> Outcome:
    """An event after `spec` and, where it is not turned away, `ip`."""
    source = Source("website", type_of_source)
    found = decoded(received_line(event, **line))
    discard = apply(Spec, found, source=source)
    if discard is None:
        apply(Ip, found, ip_options, source)
    text = event_line(found, msgspec.Raw(b'"website"'))
    return Outcome(text, discard, [(v.code, v.path) for v in found.violations])


class Running:
    """A plugin that was started."""

    def __init__(self, hook: Instance, clock: FakeClock, told: Told) -> None:
        self.hook = hook
        self.clock = clock
        self.told = told

    async def __call__(self, *events: Event, source: Source | None = None) -> list[Discard | None]:
        """A slice goes through; what became of each event."""
        source = source or Source("website")
        hook = self.hook
        if hook.prepare is not None:
            result = hook.prepare(events, source)
            if inspect.isawaitable(result):
                await result
        found: list[Discard | None] = []
        for event in events:
            if hook.enrich is not None:
                hook.enrich(event, source)
            found.append(None if hook.filter is None else hook.filter(event, source))
        return found

    async def context(self, context: Any, source: Source | None = None, **line: Any) -> Any:
        """What becomes of an event's context."""
        event = decoded(received_line({"type": "track", "event": "A", "context": context}, **line))
        await self(event, source=source)
        return msgspec.json.decode(event.line())["context"]


@asynccontextmanager
async def running(
    plugin: type[Plugin], options: Mapping[str, Any] | None = None, *, folder: Path = Path("unused")
) -> AsyncIterator[Running]:
    """Start a plugin, and stop it at the end. Raises what its startup raises."""
    clock, told = FakeClock(), Told()

    def env(name: str) -> PluginEnv:
        return PluginEnv(name, folder, None, clock, told.log)  # type: ignore[arg-type]  # no streams

    hook = make_instance("tested", "tested", dict(options or {}), InstalledClass(plugin), env)
    await _called(hook.startup)
    try:
        yield Running(hook, clock, told)
    finally:
        await _called(hook.shutdown)


async def _called(call: Callable[[], Awaitable[None] | None] | None) -> None:
    result = call() if call is not None else None
    if inspect.isawaitable(result):
        await result
