"""`cdpd destinations ls` and `forget` on the control socket."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.control.contract import Calls, CannotDo
from cdpd.delivery.delivery import Delivery
from cdpd.delivery.making import DestinationError
from cdpd.delivery.state import StateError

LIST: Final = "GET /destinations"
FORGET: Final = "POST /destinations/forget"


class ForgetRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body."""

    destination: str
    parked: bool = False
    """Its parked events too."""
    dry_run: bool = False


def destination_calls(delivery: Delivery) -> Calls:
    """LIST answers `destinations`: name → how it is (Delivery.listed); FORGET as `Forgotten`."""

    async def ls(_: bytes) -> dict[str, Any]:
        return {"destinations": delivery.listed()}

    async def forget(body: bytes) -> dict[str, Any]:
        request = msgspec.json.decode(body, type=ForgetRequest)
        try:
            done = await delivery.by_hand.forget(
                request.destination, parked=request.parked, dry_run=request.dry_run
            )
        except (DestinationError, StateError) as error:
            raise CannotDo(str(error)) from error
        told: dict[str, Any] = msgspec.to_builtins(done)
        return told

    return {LIST: ls, FORGET: forget}
