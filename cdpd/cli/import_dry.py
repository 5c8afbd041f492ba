"""A dry run of `cdpd import`: events go as far as they can without a daemon, through ingest's checks and `spec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cdpd.bring.batch import Item
from cdpd.bring.receiving import received_line, unhurried
from cdpd.bring.sending import Answer
from cdpd.config.model import Config
from cdpd.event import Event
from cdpd.hooks.spec import Spec
from cdpd.ingest.settings import IngestSettings
from cdpd.log.reader import Frame
from cdpd.pipeline.line import Lines, Refused
from cdpd.pipeline.output import event_line


class DryRun:
    """Takes the batches in the daemon's stead."""

    def __init__(self, source: str, limits: dict[str, Any], now_ms: int) -> None:
        settings = unhurried(IngestSettings.of(Config(), 0))
        self._settings = msgspec.structs.replace(settings, **limits)
        self._source = source
        self._now_ms = now_ms
        self._lines = Lines()
        self._spec = Spec(None, None)  # type: ignore[arg-type]  # it uses nothing of its surroundings
        self._codes: dict[str, tuple[str, int]] = {}
        self.example: bytes | None = None
        """The first event that `spec` lets through, as it would be stored; indented."""

    @property
    def codes(self) -> list[tuple[str, str, int]]:
        """(code, message of the first, how many), most frequent first."""
        found = [(code, message, count) for code, (message, count) in self._codes.items()]
        return sorted(found, key=lambda one: -one[2])

    def send(self, items: Sequence[Item]) -> Answer:
        """As Sender.send, but nothing leaves this process."""
        rejected = 0
        for item in items:
            line, is_rejected = received_line(item, self._source, self._settings, self._now_ms)
            rejected += is_rejected
            self._judge(line)
        return Answer(len(items), rejected)

    def _judge(self, line: bytes) -> None:
        events: list[Event] = []
        refused: list[Refused] = []
        self._lines.decode(Frame(0, 1, 1, 0, 0, 0, [line]), 0, 1, events, refused)
        for one in refused:
            self._count(one.code, one.message)
        for event in events:
            self._spec.cdpd_enrich(event)
            discard = self._spec.cdpd_filter()
            if discard is not None:
                self._count(discard.code, discard.message)
            elif self.example is None:
                text = event_line(event, self._lines.project(self._source))
                self.example = msgspec.json.format(text, indent=2)

    def _count(self, code: str, message: str) -> None:
        first, count = self._codes.get(code, (message, 0))
        self._codes[code] = (first, count + 1)
