"""The hook contract: everything that a plugin in the pipeline can do. See hooks/ for plugins that use it.

A plugin is a class on `cdpd.plugins.Plugin`, named in the entry-point group `cdpd.hooks`, that implements
any of the functions below with `@hookimpl`. It does nothing until the configuration lists it:
`[pipeline] hooks = ["spec", "dedup", "mine"]`. The chain runs in that order, plugin by plugin over a slice
of events; an implementation may leave out arguments that it does not need.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING

import pluggy
from msgspec import Struct

from cdpd.event import Event, Position, Violation

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

    from cdpd.plugins import Source

PROJECT = "cdpd"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Discard(Struct, frozen=True):
    """Why an event ends here: it goes to the stream `discarded` with this and the plugin's name."""

    code: str
    message: str = ""
    record: bool = True
    """False: no trace is kept but a count (for suppressed people)."""


class Retry(Exception):
    """Raised by a hook that cannot decide now (a look-up is down): the pipeline waits and asks again, loudly."""


@hookspec
def cdpd_startup() -> Awaitable[None] | None:
    """Once, before the first event; may be async. Open files here, catch up with the log here."""


@hookspec
def cdpd_shutdown() -> Awaitable[None] | None:
    """Once, after the last event; may be async."""


@hookspec
def cdpd_prepare(events: Sequence[Event], source: Source) -> Awaitable[None] | None:
    """Once a slice and source, before the three hooks below; may be async, with a time-out.

    Look up in one round trip what the slice needs.
    """


@hookspec
def cdpd_validate(event: Event, source: Source) -> Violation | Iterable[Violation] | None:
    """Report what is wrong. Violations stay on the event (`event.violations`) for the plugins after this one."""


@hookspec
def cdpd_enrich(event: Event, source: Source) -> None:
    """Change the event in place; everything but its messageId."""


@hookspec
def cdpd_filter(event: Event, source: Source) -> Discard | None:
    """Discard the event by returning why."""


@hookspec
def cdpd_committed(events: Sequence[Event], position: Position) -> None:
    """These events are durably in `events`; `position` is the place right after them."""


@hookspec
def cdpd_routes() -> Iterable[AbstractRouteDef]:
    """HTTP routes to serve beside the tracking API, under `/-/NAME/`."""
