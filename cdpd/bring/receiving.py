"""The daemon's side of `cdpd import`: events of an archive become durable lines of `received`.

They go through the hooks like all others. `receivedAt` is the archive's own, `via.path` is `import`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import anyio.lowlevel
import msgspec
from msgspec import Raw

from cdpd import metrics as names
from cdpd.bring.batch import Item, decode_batch
from cdpd.clock import Clock
from cdpd.config.model import Config
from cdpd.config.plugin_options import Catalogue
from cdpd.config.problem import did_you_mean
from cdpd.control.contract import Busy, Calls, CannotDo
from cdpd.event import Via
from cdpd.ingest.line import Head, LineBuilder
from cdpd.ingest.settings import IngestSettings
from cdpd.ingest.split import Split
from cdpd.log.errors import AppendFailed
from cdpd.metrics import Metrics
from cdpd.timestamp import format_time, parse_time

DESCRIBE: Final = "GET /import"
TAKE: Final = "POST /import"
PATH: Final = "import"
"""`via.path` of an imported event."""
MOST_BEHIND: Final = 20_000
"""Events of `received` that may wait for the hooks before an import has to: those that arrive now come first."""
_BATCH_ROOM: Final = 16 * 1024 * 1024
_AT_ONCE: Final = 50
"""Lines that are made before other tasks have their turn."""

Append = Callable[[Sequence[bytes], int], Awaitable[object]]
"""Lines and the configuration's id → returns once they are durable. Raises AppendFailed."""
_encode: Final = msgspec.json.Encoder().encode


def received_line(item: Item, source: str, settings: IngestSettings, now_ms: int) -> tuple[bytes, bool]:
    """The line of `received` for an event, and whether it only says why the hooks cannot be given it.

    `receivedAt` is the archive's, or now where it has none, or one that is still to come.
    Raises msgspec.DecodeError where the text is no JSON.
    """
    known = item.known
    at_ms = parse_time(known.received_at)
    at = format_time(now_ms if at_ms is None else min(at_ms, now_ms)).encode()
    head = Head(b'"%b"' % at, _encode(source), _encode(Via(path=PATH, ip=known.ip)))
    event = Raw(item.text)
    builder = LineBuilder(settings, head, Split(events=[event], key=None), b"\r" in item.text)
    (line,) = builder.build([event])
    return line, bool(builder.rejected)


def unhurried(settings: IngestSettings) -> IngestSettings:
    """The same, without a limit to what one request may come to: a batch of an import has its own."""
    return msgspec.structs.replace(settings, max_batch_bytes=max(settings.max_batch_bytes, _BATCH_ROOM))


class Receiving:
    """Takes batches from `cdpd import`."""

    def __init__(
        self,
        *,
        append: Append,
        config: Callable[[], Config],
        settings: Callable[[], IngestSettings],
        behind: Callable[[], int],
        catalogue: Catalogue,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._append = append
        self._config = config
        self._settings = settings
        self._behind = behind
        """How many lines of `received` the hooks have not seen yet."""
        self._catalogue = catalogue
        self._clock = clock
        self._metrics = metrics

    def calls(self) -> Calls:
        """For the control API."""
        return {DESCRIBE: self.describe, TAKE: self.take}

    async def describe(self, _: bytes) -> dict[str, Any]:
        """`{"sources": [name], "destinations": {name: its key in integrations}, "limits"}`."""
        config, settings = self._config(), self._settings()
        return {
            "sources": sorted(config.sources),
            "destinations": {name: self._key(name, options) for name, options in config.destinations.items()},
            "limits": {"max_event_bytes": settings.max_event_bytes, "max_depth": settings.max_depth},
        }

    def _key(self, name: str, options: dict[str, Any]) -> str:
        kind = str(options.get("type", name))
        loaded: Any = self._catalogue.destinations()[kind].load()
        return str(loaded.name)

    async def take(self, body: bytes) -> dict[str, Any]:
        """`{"stored": n, "rejected": n}` once a batch is durable; rejected ones are stored too, for `discarded`.

        Raises CannotDo for a source that is not configured, Busy while the log cannot be written or the hooks are
        far behind, msgspec.DecodeError for a body of another form.
        """
        source, items = decode_batch(body)
        known = self._config().sources
        if source not in known:
            hint = did_you_mean(source, known) or f"sources: {', '.join(sorted(known)) or 'none'}"
            raise CannotDo(f"there is no source {source!r} in the daemon's configuration; {hint}")
        behind = self._behind()
        if behind > MOST_BEHIND:
            raise Busy(f"the hooks are {behind:,} events behind")
        settings, now = unhurried(self._settings()), self._clock.now_ms()
        lines: list[bytes] = []
        rejected = 0
        for i, item in enumerate(items):
            line, is_rejected = received_line(item, source, settings, now)
            lines.append(line)
            rejected += is_rejected
            if i % _AT_ONCE == _AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()
        if lines:
            try:
                await self._append(lines, settings.config_id)
            except AppendFailed as error:
                raise Busy(f"the daemon's log cannot be written: {error}") from error
        self._metrics.add(names.RECEIVED, source, n=len(lines))
        return {"stored": len(lines), "rejected": rejected}
