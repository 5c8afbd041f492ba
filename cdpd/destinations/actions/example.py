"""An event for an action: what it brings itself, or one that fits its trigger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from cdpd.destinations.actions.action import Action

_TYPE: Final = re.compile(r"""\btype = ["'](\w+)["']""")
_NAME: Final = re.compile(r"""\bevent = ["']([^"']+)["']""")


def example_of(action: Action) -> Mapping[str, Any]:
    """Its own example, laid over an event of the type and name that its trigger asks for."""
    trigger = action.trigger or ""
    found = _TYPE.search(trigger)
    kind = found[1] if found else "track"
    event: dict[str, Any] = {
        "type": kind,
        "messageId": "msg-0001",
        "userId": "user-7",
        "anonymousId": "anon-7",
        "timestamp": "2026-01-15T10:20:30.000Z",
        "context": {"ip": "203.0.113.7", "library": {"name": "analytics.js", "version": "2.1.0"}},
    }
    if kind == "track":
        name = _NAME.search(trigger)
        event |= {"event": name[1] if name else "Song Played", "properties": {"title": "Blue Train"}}
    elif kind in ("page", "screen"):
        event |= {"name": "Mugs", "properties": {"name": "Mugs", "url": "https://shop.example/mugs"}}
    else:
        event["traits"] = {"name": "Ada", "email": "ada@example.com", "plan": "pro"}
        event |= {"groupId": "acct-9"} if kind == "group" else {}
        event |= {"previousId": "old-7"} if kind == "alias" else {}
    return {**event, **(action.example or {})}
