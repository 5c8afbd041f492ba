"""`cdpd pause` and `cdpd resume` on the control socket: destinations rest, by hand, and go on where they were."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.config.problem import did_you_mean
from cdpd.control.contract import Calls, CannotDo
from cdpd.delivery.delivery import Delivery
from cdpd.delivery.state import StateError

PAUSE: Final = "POST /destinations/pause"
RESUME: Final = "POST /destinations/resume"


class PauseRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body of PAUSE. An empty list of destinations is all that are configured."""

    destinations: list[str] = []
    reason: str = ""


class ResumeRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body of RESUME. An empty list of destinations is all that are paused."""

    destinations: list[str] = []


def pause_calls(delivery: Delivery) -> Calls:
    """The answers have `destinations`: name → as `cdpd destinations ls --json` shows it, and `before`.

    `before`: names of those that were paused, or not paused, already.
    """

    async def pause(body: bytes) -> dict[str, Any]:
        request = msgspec.json.decode(body, type=PauseRequest)
        known = delivery.status()
        chosen = _chosen(request.destinations, known, known)
        before = [name for name in chosen if "paused" in known[name]]
        try:
            await delivery.by_hand.pause(chosen, request.reason)
        except StateError as error:
            raise CannotDo(str(error)) from error
        return _told(delivery, chosen, before)

    async def resume(body: bytes) -> dict[str, Any]:
        request = msgspec.json.decode(body, type=ResumeRequest)
        known = delivery.listed()
        paused = [name for name, status in known.items() if "paused" in status]
        chosen = _chosen(request.destinations, known, paused)
        try:
            await delivery.by_hand.resume(name for name in chosen if name in paused)
        except StateError as error:
            raise CannotDo(str(error)) from error
        return _told(delivery, chosen, [name for name in chosen if name not in paused])

    return {PAUSE: pause, RESUME: resume}


def _chosen(asked: list[str], known: dict[str, Any], everything: dict[str, Any] | list[str]) -> list[str]:
    """Those that are meant, in order, each once. Raises CannotDo for one that is not there."""
    for name in asked:
        if name not in known:
            hint = did_you_mean(name, known) or f"there are: {', '.join(known) or 'none'}"
            raise CannotDo(f"there is no destination {name!r}; {hint}")
    return list(dict.fromkeys(asked or everything))


def _told(delivery: Delivery, chosen: list[str], before: list[str]) -> dict[str, Any]:
    told = delivery.listed()
    return {"destinations": {name: told[name] for name in chosen if name in told}, "before": before}
