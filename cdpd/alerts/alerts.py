"""All alerts of a daemon: looked at every few seconds; what they keep and what they tell goes into state.db at once.

A round counts what is new, judges every alert, and stores counts, states and messages in one transaction: an alert
that has fired has its message on the way, and neither comes twice.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog

from cdpd import metrics as names
from cdpd.alerts import message as messages
from cdpd.alerts.channels import Channels, Told, channels_of
from cdpd.alerts.counting import Deliveries, StreamCount, discarded_by_source, received_by_source
from cdpd.alerts.counts import SLOT_MS, Counts
from cdpd.alerts.judging import AlertState, judged
from cdpd.alerts.message import Facts, Message
from cdpd.alerts.outbox import Outbox
from cdpd.alerts.reading import Reading, Seen, read
from cdpd.alerts.report import Report
from cdpd.alerts.resting import Resting
from cdpd.alerts.store import Key, Round, Store
from cdpd.alerts.watched import Watched, looked_back_at, watched
from cdpd.clock import Clock
from cdpd.config.model import Config
from cdpd.config.plugin_options import Catalogue
from cdpd.config.size import parse_floor
from cdpd.delivery.backoff import Random
from cdpd.delivery.making import Maker
from cdpd.delivery.state import StateDb, StateError
from cdpd.delivery.waiting import first_of
from cdpd.disk import Space, space_of
from cdpd.log.readable import ReadableStream
from cdpd.metrics import Metrics

EVERY: Final = 10.0
"""Seconds between two rounds."""
_BREAK_MS: Final = 2 * SLOT_MS
"""A daemon that was away for longer was not there to receive anything."""


class Alerts:
    """`destinations`: what Delivery.status says. `look`: what is free on the disk of a folder."""

    def __init__(
        self,
        config: Config,
        *,
        state: StateDb,
        received: ReadableStream,
        events: ReadableStream,
        discarded: ReadableStream,
        destinations: Callable[[], Mapping[str, Mapping[str, Any]]],
        catalogue: Catalogue,
        data_dir: Path,
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        look: Callable[[Path], Space] = space_of,
        random: Random = random.random,
    ) -> None:
        self.busy = False
        """Whether a round is under way."""
        self._config = config
        self._store = Store(state)
        self._destinations = destinations
        self._data_dir = data_dir
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._look = look
        self._host = socket.gethostname()
        self._counts = Counts(self._store.counts())
        self._states = self._store.states()
        self._readings: dict[Key, Reading] = {}
        self._deliveries = Deliveries(metrics)
        self._received = StreamCount("received", received, received_by_source, self._store.place("received"))
        self._discarded = StreamCount(
            "discarded", discarded, discarded_by_source, self._store.place("discarded")
        )
        self._recount = False
        self._resting = Resting(events)
        self._space: Space | None = None
        self._watched: dict[Key, Watched] = {}
        self._running_ms = 0
        self._noted_ms = 0
        self._problem: str | None = None
        self._changed = anyio.Event()
        self._channels = Channels(Maker(catalogue, data_dir, clock, log), clock, log)
        self._outbox = Outbox(self._store, self._channels, clock, metrics, log, random)
        self.apply(config)

    def apply(self, config: Config) -> None:
        """From the next round on. Messages that wait are tried at once."""
        self._config = self._channels.config = config
        self._watched = {each.key: each for each in watched(config)}
        self._recount = True  # perhaps more of the streams
        self._outbox.wake()
        self._changed.set()

    async def run(self) -> None:
        """Watch and tell until cancelled."""
        now = self._clock.now_ms()
        since = self._store.running()
        there = since is not None and 0 <= now - since[1] <= _BREAK_MS
        self._running_ms = since[0] if since is not None and there else now
        self._noted_ms = 0
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._outbox.run)
                while True:
                    self._changed = anyio.Event()
                    self.busy = True
                    if await self.round():
                        self.busy = False
                        await first_of(self._changed.wait, partial(self._clock.sleep, EVERY))
        finally:
            self._received.close()
            self._discarded.close()
            with anyio.CancelScope(shield=True):
                await self._keep_counts()

    # -- one round -----------------------------------------------------------------------------------------

    async def round(self) -> bool:
        """Count, judge, store, tell. False where there is more to count at once."""
        seen = await self._seen()
        states: dict[Key, AlertState | None] = {}
        outgoing: list[tuple[str, Message]] = []
        for key, each in self._watched.items():
            before = self._states.get(key) or AlertState(seen.now_ms)
            self._readings[key] = reading = read(
                each.alert, each.condition, each.subject, before.watched_ms, seen
            )
            after, turn = judged(
                before,
                reading.holds,
                seen.now_ms,
                hold=each.alert.hold_seconds,
                resolve=each.alert.resolve_seconds,
            )
            if after != self._states.get(key):
                states[key] = after
            if turn is not None:
                told = messages.fired if turn == "fired" else messages.resolved
                since = (after if turn == "fired" else before).began_ms or seen.now_ms
                outgoing += self._to_all(each, told(self._facts(each), reading, since, seen.now_ms))
        for key in self._states.keys() - self._watched.keys():
            states[key] = None
            outgoing += self._unwatched(key, seen.now_ms)
        if await self._keep(seen.now_ms, states, outgoing):
            self._settle(states, outgoing)
        return seen.counted_ms is not None or not self._counts_streams or bool(self._stuck())

    async def _seen(self) -> Seen:
        now = self._clock.now_ms()
        told = self._destinations()
        self._deliveries.take(self._counts, now)
        from_ms = now - looked_back_at(self._watched)
        kinds = {each.condition.kind.name for each in self._watched.values()}
        if "lag" in kinds:
            told = await self._resting.with_lag(told, now)
        if self._recount:
            self._recount = False
            self._received.close()
            self._discarded.close()
        if self._counts_streams:
            await self._received.step(self._counts, now, from_ms)
            if "discarded_share" in kinds:
                await self._discarded.step(self._counts, now, from_ms)
        self._counts.forget_before(from_ms)
        if kinds & {"disk_free", "disk_full"}:
            try:
                self._space = await anyio.to_thread.run_sync(self._look, self._data_dir)
            except OSError:
                self._space = None
        place = self._received.place
        through = self._received.through and (self._discarded.through or "discarded_share" not in kinds)
        total = 0 if self._space is None else self._space.total
        return Seen(
            now_ms=now,
            running_ms=self._running_ms,
            counts=self._counts,
            counted_ms=place.since_ms if place is not None and through else None,
            why=self._stuck() or "what came before is still being counted",
            destinations=told,
            space=self._space,
            floor=parse_floor(self._config.log.min_free).of(total),
        )

    @property
    def _counts_streams(self) -> bool:
        return any(each.condition.kind.about == "source" for each in self._watched.values())

    def _stuck(self) -> str:
        return self._received.problem or self._discarded.problem or ""

    def _unwatched(self, key: Key, now_ms: int) -> list[tuple[str, Message]]:
        """Where it fires, and its alert can still be told: that it is not watched any more."""
        name, subject = key
        alert = self._config.alerts.get(name)
        state = self._states[key]
        self._readings.pop(key, None)
        if not state.fires or alert is None:
            return []
        each = Watched(name, alert, alert.condition, subject)
        why = "it is not watched any more, the configuration has changed"
        return self._to_all(
            each, messages.unwatched(self._facts(each), why, state.began_ms or now_ms, now_ms)
        )

    def _facts(self, each: Watched) -> Facts:
        return Facts(each.name, each.alert, each.condition, each.subject, self._host)

    @staticmethod
    def _to_all(each: Watched, message: Message) -> list[tuple[str, Message]]:
        # Without a channel it is for the log alone.
        return [(channel, message) for channel in channels_of(each.name, each.alert) or [""]]

    # -- keeping -------------------------------------------------------------------------------------------

    async def _keep(
        self, now: int, states: Mapping[Key, AlertState | None], outgoing: list[tuple[str, Message]]
    ) -> bool:
        if not self._watched:
            self._counts.stored()
        note = bool(self._watched) and now - self._noted_ms >= SLOT_MS
        counts = list(self._counts.changed())
        if not (states or outgoing or counts or note):
            return True
        streams = {"received": self._received.place, "discarded": self._discarded.place}
        done = Round(
            states=states,
            messages=[(channel, message) for channel, message in outgoing if channel],
            counts=counts,
            forget_before=(now - looked_back_at(self._watched)) // SLOT_MS if note else 0,
            places={name: place for name, place in streams.items() if place is not None},
            forget=self._counts.forgotten(),
            running_ms=self._running_ms if note else 0,
            at_ms=now,
        )
        try:
            await self._store.keep(done)
        except StateError as error:
            if self._problem is None:
                self._log.error("what alerts have to keep cannot be stored; trying again", problem=str(error))
            self._problem = str(error)
            return False
        self._problem = None
        self._counts.stored()
        self._noted_ms = now if note else self._noted_ms
        return True

    async def _keep_counts(self) -> None:
        now = self._clock.now_ms()
        self._deliveries.take(self._counts, now)
        self._noted_ms = 0
        await self._keep(now, {}, [])

    def _settle(self, states: Mapping[Key, AlertState | None], outgoing: list[tuple[str, Message]]) -> None:
        """What is stored holds."""
        for key, state in states.items():
            if state is None:
                del self._states[key]
            else:
                self._states[key] = state
        firing: dict[str, int] = dict.fromkeys((*self._config.alerts, *(name for name, _ in states)), 0)
        for (name, _), state in self._states.items():
            firing[name] = firing.get(name, 0) + state.fires
        for name, n in firing.items():
            self._metrics.set(names.ALERTS_FIRING, name, value=n)
        told = {message.message_id: message for _, message in outgoing}
        for message in told.values():
            say = self._log.warning if message.status == "fired" else self._log.info
            say("an alert fires" if message.status == "fired" else "an alert is over", **_for_log(message))
        if outgoing:
            self._outbox.look()

    # -- being asked ---------------------------------------------------------------------------------------

    @property
    def report(self) -> Report:
        """How everything stands."""
        return Report(
            self._config.alerts,
            self._watched,
            self._states,
            self._readings,
            self._outbox.waiting,
            self._outbox.problems,
            self._problem or self._stuck() or None,
        )

    async def test(self, name: str) -> list[tuple[str, Told, float]]:
        """Send a test message to every channel of an alert: channel, what became of it, seconds. Raises KeyError."""
        alert = self._config.alerts[name]
        subject = next((each.subject for each in self._watched.values() if each.name == name), "")
        now = self._clock.now_ms()
        message = messages.trial(Facts(name, alert, alert.condition, subject, self._host), now)
        done: dict[str, tuple[Told, float]] = {}

        async def send(channel: str) -> None:
            began = self._clock.monotonic()
            told = await self._channels.send(channel, message)
            done[channel] = told, self._clock.monotonic() - began

        channels = channels_of(name, alert)
        async with anyio.create_task_group() as tasks:
            for channel in channels:
                tasks.start_soon(send, channel)
        return [(channel, *done[channel]) for channel in channels]


def _for_log(message: Message) -> dict[str, Any]:
    shown = ("alert", "destination", "source", "when", "value")
    return {name: message.properties[name] for name in shown if name in message.properties}
