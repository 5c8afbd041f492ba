"""`cdpd parked drop` on the control socket. (`ls` and `show` read state.db themselves; `retry` is a job.)"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.control.contract import Calls, CannotDo
from cdpd.delivery.delivery import Delivery
from cdpd.delivery.parked import ParkedFilter
from cdpd.delivery.state import StateError

DROP: Final = "POST /parked/drop"


class DropRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body."""

    filter: ParkedFilter
    everything: bool = False
    """Says that a filter which restricts nothing is meant so."""
    dry_run: bool = False


def parked_calls(delivery: Delivery) -> Calls:
    """The answer has `events`, how many, and `destinations`: name → how many."""

    async def drop(body: bytes) -> dict[str, Any]:
        request = msgspec.json.decode(body, type=DropRequest)
        if not request.filter.restricts and not request.everything:
            raise CannotDo("say which parked events are meant, or that all are")
        dropper = delivery.dropper
        try:
            work = dropper.count if request.dry_run else dropper.drop
            done = await work(request.filter)
        except StateError as error:
            raise CannotDo(str(error)) from error
        return {"events": sum(done.values()), "destinations": done}

    return {DROP: drop}
