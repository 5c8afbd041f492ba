"""The hook contract: everything that a plugin in the pipeline can do. See hooks/ for plugins that use it.

A plugin is a class on `cdpd.plugins.Plugin`, named in the entry-point group `cdpd.hooks`, that implements
any of the functions below with `@hookimpl`. It does nothing until the configuration lists it:
`[pipeline] hooks = ["spec", "dedup", "mine"]`. The chain runs in that order, plugin by plugin over a slice
of events; an implementation may leave out arguments that it does not need.

What goes wrong: a hook that raises costs the event it was called for, which goes to `discarded` as `hook_error`
with the traceback and can be sent again; so many failures of one plugin in a row (`stop_after_failures`) stop the
pipeline. `raise Retry("why")` instead makes it wait and run the whole slice again, from the events as received.
A slice may thus come more than once before it is committed: keep in a plugin only what `cdpd_committed` says.
`cdpd diff` and `cdpd trace` rehearse: they run stored events through the chain again, in a process of their own. A
plugin that asks the network, or judges by what is stored already, says so (`Plugin.not_rehearsed`) and is left out.
Objects (`set` calls) are no events: only plugins that ask for them get any (`Plugin.takes_objects`).
Hooks hold the event loop while they run: look things up in `cdpd_prepare`. Wrappers, `tryfirst` and `trylast`
are refused: the order is the configuration's.
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
    """Once, before the first event; may be async. Open files here, catch up with the log here.

    On a reload an instance whose options changed is started while the old one still runs, and so on the same
    `state_dir`; one that did not change goes on as it is.
    """


@hookspec
def cdpd_shutdown() -> Awaitable[None] | None:
    """Once, after the last event; may be async."""


@hookspec
def cdpd_prepare(events: Sequence[Event], source: Source) -> Awaitable[None] | None:
    """Once a slice and source, before the three hooks below; may be async, with a time-out (`prepare_timeout`).

    Look up in one round trip what the slice needs. When it is late the slice is tried again; when it raises, it
    is called for each half of the slice, and so on, so that only the event that it fails for is lost to it.
    """


@hookspec
def cdpd_validate(event: Event, source: Source) -> Violation | Iterable[Violation] | None:
    """Report what is wrong. Violations stay on the event (`event.violations`) for the plugins after this one.

    They are counted by code (`cdpd_noted_total`) for events that come through.
    """


@hookspec
def cdpd_enrich(event: Event, source: Source) -> None:
    """Change the event in place; everything but its messageId."""


@hookspec
def cdpd_filter(event: Event, source: Source) -> Discard | None:
    """Discard the event by returning why."""


@hookspec
def cdpd_committed(events: Sequence[Event], position: Position) -> None:
    """These events, of all sources, are durably in `events`; `position` is the place right after them.

    Objects (`set`) are among them, whatever `takes_objects` says: they are in `events` too.

    A slice may be told in several pieces. What a crash keeps a plugin from hearing is in the stream: follow it from
    a position of your own (`env.streams`, as `dedup` does) where every event counts.
    """


@hookspec
def cdpd_routes() -> Iterable[AbstractRouteDef] | None:
    """HTTP routes to serve beside the tracking API, under `/-/NAME/`.

    Where ingest is a process of its own (`[process] roles`), its requests come by way of it, and the client's address
    is the last in `X-Forwarded-For`.
    """
