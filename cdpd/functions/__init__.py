"""Functions: Python files of your own, named in the configuration. What such a file imports, all of it from here.

    from cdpd.functions import EventNotSupported, RetryError

README.md beside this file tells how to write one. Loaded in the function's own process too: it imports little.
"""

from cdpd.functions.cache import cache
from cdpd.functions.emit import Segment
from cdpd.functions.errors import (
    DropEvent,
    EventNotSupported,
    InvalidEventPayload,
    InvalidSettings,
    RetryError,
    ValidationError,
)
from cdpd.functions.request import Request

__all__ = [
    "DropEvent",
    "EventNotSupported",
    "InvalidEventPayload",
    "InvalidSettings",
    "Request",
    "RetryError",
    "Segment",
    "ValidationError",
    "cache",
]
