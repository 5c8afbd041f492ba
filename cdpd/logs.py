"""What the daemon says of itself: structured lines on stderr, pretty on a terminal, JSON elsewhere.

Never event content: of an exception only its type and where it was raised are written, for its text may quote an
event (foreign.trace).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TextIO

import structlog

from cdpd.config.model import LoggingConfig
from cdpd.foreign import trace
from cdpd.pretty import Pretty
from cdpd.repeats import Repeats
from cdpd.terminal import coloured

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
Render = Callable[[object, str, structlog.typing.EventDict], str]
"""The last processor: makes the line."""
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""Of syslog(3): what journald takes a line's priority from (sd-daemon(3))."""


class Threshold:
    """The lowest level that is written; may change while the daemon runs."""

    def __init__(self, level: str) -> None:
        self.level = level

    def __call__(
        self, _: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        if _LEVELS.get("error" if method == "exception" else method, logging.ERROR) < _LEVELS[self.level]:
            raise structlog.DropEvent
        return event


def make_log(
    config: LoggingConfig,
    file: TextIO,
    threshold: Threshold,
    repeats: Repeats | None = None,
    environ: Mapping[str, str] = os.environ,
) -> structlog.typing.FilteringBoundLogger:
    """A logger of its own, without touching structlog's global configuration. `repeats` bounds what it repeats."""
    pretty = config.format == "pretty" or (config.format == "auto" and file.isatty())
    render: Render
    if pretty:
        times = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        render = Pretty(colours=coloured(file))
    else:
        times = structlog.processors.TimeStamper(fmt="iso", utc=True)
        render = _json
    if goes_to_journal(file, environ):
        render = _Prioritised(render)
    kept = [] if repeats is None else [repeats]
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(file),
        processors=[threshold, *kept, structlog.processors.add_log_level, times, _traced, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=True,
    )
    return logger


def goes_to_journal(file: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether systemd's journal reads this file: $JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    named = environ.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        found = os.fstat(file.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


@contextmanager
def libraries_tell(log: structlog.typing.FilteringBoundLogger) -> Iterator[None]:
    """Inside the `with`, what libraries say through Python's `logging` goes the same way, from warnings on."""
    handler = _Forward(log)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Forward(logging.Handler):
    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        tell = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        # The first line only: asyncio's other lines show objects whole, and what they hold.
        first = record.getMessage().partition("\n")[0]
        tell(first, logger=record.name, **({"exc_info": record.exc_info} if record.exc_info else {}))


class _Prioritised:
    """Puts a line's priority before it, as journald wants it (sd-daemon(3)): `journalctl -p warning` works then."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def __call__(self, logger: object, method: str, event: structlog.typing.EventDict) -> str:
        return f"<{_PRIORITIES.get(method, _PRIORITIES['error'])}>{self._render(logger, method, event)}"


def _traced(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """`exception`: of what type it is and where it was raised."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = trace(error)
    return event


def _json(_: object, __: str, event: structlog.typing.EventDict) -> str:
    """One JSON object: when, how grave, what, and the facts."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return json.dumps({**first, **event}, ensure_ascii=False, default=str)
