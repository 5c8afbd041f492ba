"""A function hosted for a test: a file written for it, run in its real process, with a clock in the test's hands."""

from __future__ import annotations

import json
import textwrap
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Raw

from cdpd.config.functions import FunctionSetup, Kind
from cdpd.functions.frames import Result
from cdpd.functions.host import Host, Surroundings
from cdpd.functions.kept import FunctionsDb
from cdpd.testing.log import KeptLog
from tests.clock import FakeClock

SHORT = 0.2
"""Seconds of a limit that a test runs into: the function's own process keeps it, by the machine's clock."""
LONG = 30.0
"""One that no test runs into."""


def written(file: Path, text: str) -> str:
    """The function's file, with this in it."""
    file.write_text("from cdpd.functions import *\n" + textwrap.dedent(text))
    return str(file)


class Hosted:
    def __init__(self, host: Host, file: Path, db: FunctionsDb, clock: FakeClock, log: KeptLog) -> None:
        self.host = host
        self.file = file
        self.db = db
        self.clock = clock
        self.log = log

    async def call(self, *events: Mapping[str, Any]) -> list[Result]:
        items = [Raw(json.dumps(event).encode()) for event in events]
        return await self.host.call(items, lambda place: str(events[place].get("messageId", place)))

    async def ended(self, *events: Mapping[str, Any]) -> list[str]:
        """How each call ended."""
        return [result.ended for result in await self.call(*events)]


@asynccontextmanager
async def hosted(
    folder: Path,
    text: str,
    kind: Kind = "destination",
    *,
    settings: Mapping[str, Any] | None = None,
    limit: float = LONG,
) -> AsyncIterator[Hosted]:
    file, clock, log = folder / "function.py", FakeClock(), KeptLog()
    setup = FunctionSetup(file=written(file, text), settings=dict(settings or {}), timeout=limit)
    db = FunctionsDb(folder / "functions.db")
    host = Host("destination mine", kind, setup, Surroundings(db, clock, log.log))
    try:
        yield Hosted(host, file, db, clock, log)
    finally:
        await host.close()
