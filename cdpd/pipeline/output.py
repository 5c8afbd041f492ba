"""The line of `events`: the event as destinations get it, flat, on one line."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from cdpd.event import Event


def event_line(event: Event, project: Raw) -> bytes:
    """The event's text; `projectId` says its source, whatever a client or a hook put there.

    A hook may have put in text with line breaks (`put_raw`): they go, since a line is a line.
    """
    if event.raw_field("projectId") != project:
        event.put_raw("projectId", project)
    line = event.line()
    return msgspec.json.format(line, indent=-1) if b"\n" in line else line
