"""A comparison: stored traffic through the running and another configuration, event by event."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import anyio.lowlevel
import msgspec
from msgspec import Raw, Struct

from cdpd.clock import Clock
from cdpd.compare.deliveries import Pair, pairs
from cdpd.compare.settings import Setting, changed_settings, same_chain
from cdpd.compare.span import Plan, Span
from cdpd.compare.tally import DestinationRow, Seen, Tally
from cdpd.config.load import LoadedConfig
from cdpd.config.plugin_options import Catalogue
from cdpd.log.folder import StreamFolder
from cdpd.pipeline.discarded import Ended
from cdpd.pipeline.line import INGEST
from cdpd.pipeline.rehearsal import Rehearsal, Rehearsed, StoredLine, rehearsing, silent

SOURCE_DISABLED: Final = "source_disabled"
"""What stands for a code where ingest would not have taken an event at all."""
_BEFORE_THE_HOOKS: Final = ("max_event_bytes", "max_depth", "disabled_source", "unknown_key")


class Wanted(Struct, frozen=True):
    """Which events are looked at; None: all."""

    source: str | None = None
    event: str | None = None
    """A track's, page's or screen's name, as it was sent."""


class _Sent(Struct):
    event: Raw = Raw(b"{}")
    source: str = ""


class _Named(Struct):
    event: object = None
    name: object = None


_decode: Final = msgspec.json.Decoder(_Sent).decode
_decode_named: Final = msgspec.json.Decoder(_Named).decode


class Comparison:
    """What is known so far; complete once `run` has returned."""

    def __init__(self, old: LoadedConfig, new: LoadedConfig, wanted: Wanted, samples: int) -> None:
        self.old = old
        self.new = new
        self.wanted = wanted
        self.settings: Sequence[Setting] = changed_settings(old.config, new.config)
        self.tally = Tally(samples)
        self.pairs: Sequence[Pair] = ()
        self.not_rehearsed: dict[str, str] = {}
        """Hooks of either configuration that are left out → why."""
        self.span: Span | None = None
        self.refused = 0
        """Lines that ingest had to refuse."""
        self.deliveries_changed = 0
        """Events for which at least one destination is sent something else, or nothing, or newly something."""
        self._same: dict[str, bool] = {}

    @property
    def differs(self) -> bool:
        """Whether any event is concerned."""
        return bool(self.tally.whole.affected or self.deliveries_changed)

    def chain_is_the_same(self, source: str) -> bool:
        """Whether the hooks of a source are the same in both, so that one run tells both outcomes."""
        known = self._same.get(source)
        if known is None:
            known = self._same[source] = same_chain(self.old, self.new, source)
        return known

    @property
    def nothing_to_compare(self) -> bool:
        """Whether no event can fare differently: every chain and every destination is the same."""
        chains = all(map(self.chain_is_the_same, self._sources))
        return chains and all(pair.state == "same" for pair in self.pairs)

    @property
    def _sources(self) -> list[str]:
        return list({**self.old.config.sources, **self.new.config.sources})

    async def run(
        self,
        received: StreamFolder,
        discarded: StreamFolder | None,
        planned: Plan,
        catalogue: Catalogue,
        clock: Clock,
        progress: Callable[[int], None],
    ) -> None:
        """Compare everything of the plan. `progress` is told how many more offsets are done.

        May be cancelled: what is counted then is true of the part that was read. Raises HookError, DestinationError
        and LogError.
        """
        with tempfile.TemporaryDirectory(prefix="cdpd-diff-") as temporary:
            self.pairs = pairs(self.old, self.new, catalogue, clock, silent(), Path(temporary))
            self.tally.destinations = {pair.name: DestinationRow() for pair in self.pairs}
            if self.nothing_to_compare:
                return
            differing = [name for name in self._sources if not self.chain_is_the_same(name)]
            async with (
                rehearsing(self.old, catalogue, clock, steps=differing) as before,
                rehearsing(self.new, catalogue, clock, steps=differing) as after,
            ):
                self.not_rehearsed = {**before.left_out, **after.left_out}
                self.span = Span(received, discarded, planned, self.not_rehearsed)
                for lines, offsets in self.span.read():
                    await self._compare(self._chosen(lines), before, after)
                    progress(offsets)
                    await anyio.lowlevel.checkpoint()

    def _chosen(self, lines: list[StoredLine]) -> list[StoredLine]:
        source, event = self.wanted.source, self.wanted.event
        if source is None and event is None:
            return lines
        return [line for line in lines if _is_wanted(line.text, source, event)]

    async def _compare(self, lines: Sequence[StoredLine], before: Rehearsal, after: Rehearsal) -> None:
        texts = {line.position.offset: line for line in lines}
        olds = await before.run(lines)
        again = [
            texts[old.position.offset]
            for old in olds
            if not self._is_refused(old) and not self.chain_is_the_same(old.source)
        ]
        news = {new.position.offset: new for new in await after.run(again)}
        for old in olds:
            if self._is_refused(old):
                self.refused += 1
                continue
            offset = old.position.offset
            new = news.get(offset)
            if new is None:
                new = old
            else:
                old, new = _taken(self.old, old), _taken(self.new, new)
            seen = self.tally.see(texts[offset].text, old, new)
            self.tally.add(seen)
            self._deliver(seen)

    @staticmethod
    def _is_refused(one: Rehearsed) -> bool:
        return one.ended is not None and one.ended.by == INGEST

    def _deliver(self, seen: Seen) -> None:
        old, new = _outcome(seen.old), _outcome(seen.new)
        changed = False
        for pair in self.pairs:
            changed |= self.tally.deliver(seen, pair.name, pair.compare(old, new))
        self.deliveries_changed += changed

    @property
    def notes(self) -> list[str]:
        """What has to be known to read the figures right."""
        notes = []
        for name, why in self.not_rehearsed.items():
            notes.append(f"{name} is left out on both sides: {why}")
        for hook in self.not_rehearsed:
            for source in self._sources:
                before, after = (_has(loaded, source, hook) for loaded in (self.old, self.new))
                if before is not None and after is not None and before != after:
                    notes.append(
                        f"source {source} {'no longer has' if before else 'would have'} the hook {hook}: what that "
                        "changes is not counted here"
                    )
        http = [s.key for s in self.settings if s.key.startswith("http.") and s.key[5:] in _BEFORE_THE_HOOKS]
        if http:
            notes.append(f"{', '.join(http)}: what ingest would take or refuse by it is not rehearsed")
        return notes


def _has(loaded: LoadedConfig, source: str, hook: str) -> bool | None:
    configured = loaded.config.sources.get(source)
    if configured is None:
        return None
    return hook in (loaded.config.pipeline.hooks if configured.hooks is None else configured.hooks)


def _taken(loaded: LoadedConfig, one: Rehearsed) -> Rehearsed:
    """As it is, or ended before the hooks, where its source is disabled."""
    source = loaded.config.sources.get(one.source)
    if source is None or source.enabled:
        return one
    message = f"the source {one.source!r} is disabled"
    ended = Ended(one.position.offset, one.source, INGEST, SOURCE_DISABLED, message)
    return Rehearsed(one.position, one.source, one.message_id, None, ended)


def _outcome(one: Rehearsed) -> bytes | Ended:
    if one.line is not None:
        return one.line
    assert one.ended is not None
    return one.ended


def _is_wanted(text: bytes, source: str | None, event: str | None) -> bool:
    try:
        sent = _decode(text)
        if source is not None and sent.source != source:
            return False
        if event is None:
            return True
        named = _decode_named(sent.event)
    except msgspec.DecodeError:
        return False
    return event in (named.event, named.name)
