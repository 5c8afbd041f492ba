"""Lines of the log that say the same over and over: a few a minute are written, then how many there were more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import structlog
from msgspec import Struct

from cdpd.clock import Clock

MOST: Final = 10
"""So many lines that say the same are written …"""
WITHIN: Final = 60.0
"""… in so many seconds."""
SWEEP: Final = 5.0
"""Seconds between two looks for what is over and has to be told."""
KINDS: Final = 500
"""Different things to say that are told apart; beyond it, what one plugin or destination says counts as the same."""
_SAME: Final = ("plugin", "destination", "source", "stream", "app", "code", "path", "logger")
"""Lines of one text are the same where these are."""
_PASSES: Final = "_passes"


class _Said(Struct):
    """One thing that is said, since a moment."""

    since: float
    level: str
    text: str
    about: dict[str, Any]
    written: int = 0
    left_out: int = 0


class Repeats:
    """A structlog processor. May be called in any thread, as loggers are."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._said: dict[tuple[Any, ...], _Said] = {}
        self._over: list[_Said] = []

    def __call__(
        self, _: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        if event.pop(_PASSES, False):
            return event
        text, about = str(event.get("event", "")), {name: event[name] for name in _SAME if name in event}
        level = "error" if method == "exception" else method
        key = (level, text, *map(str, about.items()))
        with self._lock:
            now = self._monotonic()
            if key not in self._said and len(self._said) >= KINDS:
                self._forget(now)
                if len(self._said) >= KINDS:
                    about = {name: about[name] for name in ("plugin", "destination") if name in about}
                    key, text = (level, *map(str, about.items())), "other lines"
            said = self._said.get(key)
            if said is None or now - said.since >= WITHIN:
                if said is not None and said.left_out:
                    self._over.append(said)
                said = self._said[key] = _Said(now, level, text, about)
            if said.written < MOST:
                said.written += 1
                return event
            said.left_out += 1
        raise structlog.DropEvent

    def tell(self, log: structlog.typing.FilteringBoundLogger, *, ending: bool = False) -> None:
        """Write how often what is over was repeated; with `ending`, of everything."""
        with self._lock:
            self._forget(float("inf") if ending else self._monotonic())
            over, self._over = self._over, []
        for said in over:
            write = getattr(log, said.level)
            times = "once" if said.left_out == 1 else f"{said.left_out} times"
            facts = {**said.about, _PASSES: True}
            write(f"{said.text} … repeated {times}", repeated=said.left_out, **facts)

    def _forget(self, now: float) -> None:
        """What was said first more than WITHIN ago is over."""
        for key, said in list(self._said.items()):
            if now - said.since >= WITHIN:
                del self._said[key]
                if said.left_out:
                    self._over.append(said)


async def tell_repeats(repeats: Repeats, clock: Clock, log: structlog.typing.FilteringBoundLogger) -> None:
    """Until cancelled; then what is left is told too."""
    try:
        while True:
            await clock.sleep(SWEEP)
            repeats.tell(log)
    finally:
        repeats.tell(log, ending=True)
