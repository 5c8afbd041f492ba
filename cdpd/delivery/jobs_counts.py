"""What a job has counted, and how that gets into state.db: with the events' outcomes, in one transaction."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec
from msgspec import Struct, field

from cdpd.delivery.cursor import DeliveryCursor


class Counts(Struct, omit_defaults=True):
    """What became of the events of a job."""

    delivered: int = 0
    skipped: int = 0
    """The destination had nothing to send for them."""
    parked: int = 0
    """Refused: parked, or parked still."""
    filtered: dict[str, int] = field(default_factory=dict)
    """Chosen, but not for this destination: code → how many."""
    retried: int = 0
    """Events that had to be tried again, counted each time."""

    @property
    def settled(self) -> int:
        """Events of which it is known what became of them."""
        return self.delivered + self.skipped + self.parked + sum(self.filtered.values())

    def add(self, more: Counts) -> None:
        self.delivered += more.delivered
        self.skipped += more.skipped
        self.parked += more.parked
        self.retried += more.retried
        for code, n in more.filtered.items():
            self.filtered[code] = self.filtered.get(code, 0) + n


class JobStep(Struct, frozen=True):
    """One job's share of a Moment (cdpd/delivery/state.py)."""

    id: str
    counts: Counts
    """What is to be added."""

    def put(self, db: sqlite3.Connection, cursor: DeliveryCursor, at_ms: int) -> None:
        """Move the job's row on."""
        row = db.execute("select counts from jobs where id = ?", (self.id,)).fetchone()
        if row is None:
            return  # removed by hand; the outcomes are kept all the same
        counts = decode_counts(row[0])
        counts.add(self.counts)
        db.execute(
            "update jobs set cursor = ?, counts = ?, changed_ms = ? where id = ?",
            (str(cursor), encode_counts(counts), at_ms, self.id),
        )


decode_counts: Final = msgspec.json.Decoder(Counts).decode


def encode_counts(counts: Counts) -> str:
    """As `decode_counts` reads it."""
    return msgspec.json.encode(counts).decode()
