"""What the daemon says of itself: structured lines on stderr, pretty on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
from typing import Any, Final, TextIO

import structlog

from cdpd.config.model import LoggingConfig

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


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
    config: LoggingConfig, file: TextIO, threshold: Threshold
) -> structlog.typing.FilteringBoundLogger:
    """A logger of its own, without touching structlog's global configuration."""
    pretty = config.format == "pretty" or (config.format == "auto" and file.isatty())
    render: list[Any]
    if pretty:
        times = structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False)
        plain = structlog.dev.plain_traceback
        render = [
            structlog.dev.ConsoleRenderer(colors=file.isatty(), exception_formatter=plain, pad_event_to=0)
        ]
    else:
        times = structlog.processors.TimeStamper(fmt="iso", utc=True)
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(file),
        processors=[threshold, structlog.processors.add_log_level, times, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=True,
    )
    return logger
