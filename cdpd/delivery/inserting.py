"""A destination's insert function before its `deliver`, where it does not call it itself (spec/connections.md §9.3)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cdpd.delivery.sending import Deliver
from cdpd.destinations.contract import Batch, Destination
from cdpd.destinations.outcome import Outcome
from cdpd.event import Event


def delivering(destination: Destination) -> Deliver:
    """`deliver` of a destination, behind its insert function."""
    insert = destination.env.insert
    if insert is None or destination.calls_insert:
        return destination.deliver

    async def deliver(batch: Batch) -> Sequence[Outcome]:
        found = await insert(batch.events)
        going = [each for each in found if isinstance(each, Event)]
        if not going:
            return [each for each in found if not isinstance(each, Event)]
        told = await destination.deliver(msgspec.structs.replace(batch, events=going))
        if len(told) != len(going):
            return told  # the destination's fault, which whoever called this tells
        outcomes = iter(told)
        return [next(outcomes) if isinstance(each, Event) else each for each in found]

    return deliver
