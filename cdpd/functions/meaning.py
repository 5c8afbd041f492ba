"""What an exception of a function means. Source: spec/connections.md §9.4, and §7 for answers of a vendor.

Beyond the spec, so that an outage does not cost events: what HTTP clients raise where there was no answer is tried
again, and where they raise for a status, that status says what to do.
"""

from __future__ import annotations

import socket
import traceback
from typing import Final

from cdpd.functions.errors import (
    DropEvent,
    EventNotSupported,
    InvalidEventPayload,
    InvalidSettings,
    RetryError,
    ValidationError,
)
from cdpd.functions.frames import Ended, Result

LONGEST_MESSAGE: Final = 2_000
LONGEST_TRACE: Final = 8_000
"""Characters."""
_NO_ANSWER: Final = frozenset(
    (
        ("aiohttp", "ClientConnectionError"),
        ("aiohttp", "ClientPayloadError"),
        ("urllib", "URLError"),
        ("requests", "ConnectionError"),
        ("requests", "Timeout"),
        ("httpx", "TransportError"),
    )
)
"""Package and class, so that none of them has to be imported."""


def result_of(error: BaseException, folder: str) -> Result:
    """The result of a call that raised. `folder`: of the function's file; the traceback begins there."""
    ended, status = _ended(error)
    text = str(error)
    if ended in ("failed", "retry", "status") and not isinstance(error, RetryError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    trace = "" if ended not in ("failed", "status") else _trace(error, folder)
    return Result(ended, text[:LONGEST_MESSAGE], trace, status)


def _ended(error: BaseException) -> tuple[Ended, int | None]:
    match error:
        case RetryError():
            return "retry", None
        case EventNotSupported():
            return "unsupported", None
        case InvalidEventPayload() | ValidationError():
            return "rejected", None
        case DropEvent():
            return "dropped", None
        case InvalidSettings():
            return "invalid_settings", None
    status = _status(error)
    if status is not None:
        return "status", status
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        return "retry", None
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    return ("failed" if kinds.isdisjoint(_NO_ANSWER) else "retry"), None


def _status(error: BaseException) -> int | None:
    """The status of an HTTP answer that a client raised for (`raise_for_status`, urllib's HTTPError)."""
    names = {kind.__name__ for kind in type(error).__mro__}
    package = type(error).__module__.partition(".")[0]
    if package == "aiohttp" and "ClientResponseError" in names:
        status = getattr(error, "status", None)
    elif package == "urllib" and "HTTPError" in names:
        status = getattr(error, "code", None)
    elif package in ("requests", "httpx") and not names.isdisjoint(("HTTPError", "HTTPStatusError")):
        status = getattr(getattr(error, "response", None), "status_code", None)
    else:
        return None
    return status if isinstance(status, int) and 300 <= status < 600 else None


def _trace(error: BaseException, folder: str) -> str:
    """As Python prints it, from the first frame in the function's folder on."""
    frames = error.__traceback__
    while frames is not None and not frames.tb_frame.f_code.co_filename.startswith(folder):
        frames = frames.tb_next
    if frames is None:
        return ""
    return "".join(traceback.format_exception(type(error), error, frames))[-LONGEST_TRACE:]
