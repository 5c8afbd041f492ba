"""What a call of `deliver` came to: its outcomes, or what an exception out of it means."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import aiohttp
from msgspec import Struct

from cdpd.destinations.outcome import BadEvent, Delivered, Misconfigured, Outcome, TooLarge, TryAgain

_KINDS = (Delivered, TryAgain, BadEvent, Misconfigured, TooLarge)


class Verdict(Struct, frozen=True):
    """One outcome an event; `fault` where the destination itself is to blame (told with its traceback)."""

    outcomes: Sequence[Outcome]
    fault: Exception | None = None


def of_answer(answer: Any, events: int, name: str) -> Verdict:
    """What `deliver` returned, checked: a destination that miscounts must not lose an event."""
    if (
        isinstance(answer, Sequence)
        and len(answer) == events
        and all(isinstance(outcome, _KINDS) for outcome in answer)
    ):
        return Verdict(answer)
    shown = f"{len(answer)} outcomes" if isinstance(answer, Sequence) else type(answer).__name__
    fault = TypeError(f"{name}.deliver returned {shown} for {events} events: it must be one Outcome an event")
    return Verdict([TryAgain(str(fault))] * events, fault)


def of_exception(error: Exception, events: int) -> Verdict:
    """What an exception out of `deliver` means for all its events."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return Verdict([Misconfigured(f"the vendor's certificate is not trusted: {error}")] * events)
    if isinstance(error, aiohttp.InvalidURL):
        return Verdict([Misconfigured(f"{error} is no address")] * events)
    if isinstance(error, TimeoutError):
        return Verdict([TryAgain("no answer in time")] * events)
    if isinstance(error, aiohttp.ClientError | OSError):
        return Verdict([TryAgain(str(error) or type(error).__name__)] * events)
    return Verdict([TryAgain(f"{type(error).__name__}: {error}")] * events, error)
