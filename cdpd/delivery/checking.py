"""The test of a destination's connection, as it is configured, beside whatever runs: nothing is sent or stored."""

from __future__ import annotations

from typing import Final

import anyio
import msgspec
from msgspec import Struct

from cdpd.delivery.making import Made, Maker
from cdpd.delivery.mask import Mask
from cdpd.destinations.answers import failure_of
from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import Destination
from cdpd.foreign import ends_us
from cdpd.secret import secrets_in

LONGEST: Final = 60.0
"""Seconds after which a test that does not end is given up."""


class CheckedDestination(Struct, omit_defaults=True):
    """One destination of the configuration."""

    name: str
    type: str
    found: Checked
    enabled: bool = True


async def check_destination(name: str, made: Made, maker: Maker) -> CheckedDestination:
    """Test it on an instance of its own. Never raises but for cancellation."""
    mask = Mask(secrets_in(made.config))
    try:
        async with maker.instance(name, made) as destination:
            await destination.start()
            try:
                found = await checked(destination, mask)
            finally:
                with anyio.CancelScope(shield=True):
                    await destination.stop()
    except BaseException as error:
        if ends_us(error):
            raise
        # Making, starting or ending it failed: a stranger's code may raise anything.
        found = _failed(error, mask)
    return CheckedDestination(name, made.kind.name, found, made.config.enabled)


async def checked(destination: Destination, mask: Mask) -> Checked:
    """What its `check` says, secrets masked, or what it raises means. Never raises but for cancellation."""
    try:
        with anyio.fail_after(LONGEST):
            found: object = await destination.check()
    except BaseException as error:
        if ends_us(error):
            raise
        return _failed(error, mask)
    if not isinstance(found, Checked):
        return Checked("failed", f"the destination itself failed: check returned {type(found).__name__}")
    return msgspec.structs.replace(
        found, text=mask(found.text), request=mask(found.request), answer=mask(found.answer)
    )


def _failed(error: BaseException, mask: Mask) -> Checked:
    single = error
    while isinstance(single, BaseExceptionGroup) and len(single.exceptions) == 1:
        single = single.exceptions[0]
    failure = failure_of(single)
    if failure is not None:
        return Checked("failed", mask(failure.reason))
    return Checked("failed", mask(f"the destination itself failed: {type(single).__name__}: {single}"))
