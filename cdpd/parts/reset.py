"""`cdpd destinations reset` on the control socket: a destination goes on from another place in `events`."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.config.problem import did_you_mean
from cdpd.control.contract import Calls, CannotDo
from cdpd.delivery.delivery import Delivery
from cdpd.delivery.making import DestinationError

RESET: Final = "POST /destinations/reset"


class ResetRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body."""

    destination: str
    start: str
    """`now`, `beginning`, a time (ISO 8601) or an offset of `events`."""
    dry_run: bool = False


def reset_calls(delivery: Delivery) -> Calls:
    """The call; its answer has `destination`, `before`, `position` and `end`, offsets of `events`."""

    async def reset(body: bytes) -> dict[str, Any]:
        request = msgspec.json.decode(body, type=ResetRequest)
        known = delivery.status()
        if request.destination not in known:
            hint = (
                did_you_mean(request.destination, list(known)) or f"there are: {', '.join(known) or 'none'}"
            )
            raise CannotDo(f"there is no destination {request.destination!r}; {hint}")
        try:
            done = await delivery.reset(request.destination, request.start, dry_run=request.dry_run)
        except DestinationError as error:
            raise CannotDo(str(error)) from error
        return {"destination": request.destination, **msgspec.to_builtins(done)}

    return {RESET: reset}
