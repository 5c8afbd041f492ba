"""Sending batches to the daemon: what it cannot take now is tried again, for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from cdpd.bring.batch import Item, encode_batch
from cdpd.control.client import ControlClient, ControlRefused, NotRunning

PATIENCE: Final = 120.0
"""Seconds of waiting for one batch, in all."""
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0
_TOLD_FROM: Final = 1.0
"""A shorter wait is not worth a line."""


class Stopped(Exception):
    """The import ended early; what was sent is noted."""


class Interrupted(Stopped):
    """Somebody asked it to stop."""


class NotTaken(Stopped):
    """The daemon does not take the events; the text says why."""


class Answer(Struct, frozen=True):
    """What became of a batch."""

    stored: int
    rejected: int


class Sender:
    """Sends to one source of a daemon. `stop` says whether to wait no longer."""

    def __init__(
        self,
        client: ControlClient,
        source: str,
        *,
        sleep: Callable[[float], None],
        say: Callable[[str], None],
        stop: Callable[[], bool],
    ) -> None:
        self._client = client
        self._source = source
        self._sleep = sleep
        self._say = say
        self._stop = stop

    def send(self, items: Sequence[Item]) -> Answer:
        """Returns once the events are on the daemon's disk. Raises NotTaken, Interrupted."""
        body = encode_batch(self._source, items)
        wait, waited = _FIRST_WAIT, 0.0
        while True:
            try:
                answer = self._client.call("POST /import", body)
                return Answer(answer["stored"], answer["rejected"])
            except ControlRefused as error:
                if error.code != "busy":
                    raise NotTaken(str(error)) from None
                problem = str(error)
            except NotRunning as error:
                problem = str(error)
            if self._stop():
                raise Interrupted
            if waited >= PATIENCE:
                raise NotTaken(f"{problem} (waited {waited:.0f} s)")
            if wait >= _TOLD_FROM:
                self._say(f"{problem}; trying again in {wait:.0f} s")
            self._sleep(wait)
            waited += wait
            wait = min(wait * 2, _LONGEST_WAIT)
