"""Stored traffic: events that a pipeline of the old configuration handled, and configurations as files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cdpd import discovery
from cdpd.compare.comparison import Comparison, Wanted
from cdpd.compare.report import Report, report
from cdpd.compare.span import Bounds, plan
from cdpd.config.data_folder import stream_folder
from cdpd.config.load import LoadedConfig, load
from cdpd.config.plugin_options import Catalogue
from cdpd.log.folder import StreamFolder
from tests.clock import FakeClock
from tests.pipeline.rig import Rig, received_line
from tests.stored import AT_MS

SOURCES = """
[sources.website]
write_keys = ["wk1"]
[sources.app]
write_keys = ["wk2"]
"""


def track(number: int, event: str = "Signed Up", **more: Any) -> dict[str, Any]:
    """A track call; its user is one of ten."""
    return {
        "type": "track",
        "messageId": f"m{number}",
        "event": event,
        "userId": f"u{number % 10}",
        "properties": {"n": number},
        **more,
    }


def configuration(folder: Path, name: str, text: str, sources: str = SOURCES) -> LoadedConfig:
    """A configuration file, loaded; its data folder is `data` beside it."""
    path = folder / f"{name}.toml"
    path.write_text(text + sources)
    return load(path, folder / "data")


def handle(
    config: LoadedConfig,
    lines: Sequence[Mapping[str, Any] | bytes],
    *,
    source: Callable[[int], str] = lambda _: "website",
    a_frame: int = 10,
    seconds: float = 1,
) -> None:
    """Receive these events (or lines as they are) and bring them through the pipeline of a configuration.

    So many are in a frame, so many seconds pass between two of them.
    """

    async def run() -> None:
        rig = Rig(config.data_dir, clock=(clock := FakeClock(AT_MS)))
        texts = [
            line if isinstance(line, bytes) else received_line(line, received_at=AT_MS, source=source(i))
            for i, line in enumerate(lines)
        ]
        async with rig.opened():
            for start in range(0, len(texts), a_frame):
                await rig.received.append(texts[start : start + a_frame], config_id=1)
                await clock.advance(seconds)
            await rig.handle_all(config.config)

    asyncio.run(run())


def compared(
    old: LoadedConfig,
    new: LoadedConfig,
    *,
    bounds: Bounds | None = None,
    limit: int | None = None,
    wanted: Wanted | None = None,
    samples: int = 3,
    catalogue: Catalogue = discovery,
) -> Report:
    """What would change."""
    received, discarded = (
        StreamFolder(stream_folder(old.data_dir, name)) for name in ("received", "discarded")
    )
    planned = plan(received, bounds or Bounds(), limit)
    comparison = Comparison(old, new, wanted or Wanted(), samples)
    asyncio.run(comparison.run(received, discarded, planned, catalogue, FakeClock(AT_MS), lambda _: None))
    return report(comparison, planned, [])
