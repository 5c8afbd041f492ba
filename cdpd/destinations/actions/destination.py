"""A destination made of actions: which of them an event matches, what their mappings make of it, and the requests.

    class Radio(ActionDestination):
        name = "Radio"

        class Config(ActionsConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
            api_key: Secret

        actions = (PLAY,)
        presets = (Preset("Plays", PLAY),)

Source: spec/connections.md §1 (stages 18 to 21), §7, §8; spec/destinations.md §0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final

import anyio
import anyio.lowlevel
import msgspec
from msgspec import Raw, Struct

from cdpd.destinations.actions.action import Action, Preset, Result
from cdpd.destinations.actions.apart import run_apart
from cdpd.destinations.actions.client import Client, Nobody, Recorder
from cdpd.destinations.actions.config import ActionsConfig, problems_of
from cdpd.destinations.actions.connection import ConnectionTest, checked_of
from cdpd.destinations.actions.memory import Memory
from cdpd.destinations.actions.subscription import Subscription, subscriptions
from cdpd.destinations.actions.trouble import outcome_of_error
from cdpd.destinations.answers import Answer, Table, outcome_of
from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import Batch, Destination, DestinationEnv, Problem
from cdpd.destinations.outcome import HELD, OUTCOMES, BadEvent, Delivered, Outcome, Skipped, TryAgain
from cdpd.destinations.steps import Entry, plan, run_steps, user_of
from cdpd.event import Event
from cdpd.section import decode_value

NO_MATCH: Final = "NO_MATCHING_MAPPING"
INVALID: Final = "PAYLOAD_VALIDATION_FAILED"
_COMES_AGAIN: Final = frozenset(
    ("bad_credentials", "bad_config", "rate_limited", "retry", "too_large", "resend")
)
_TURN: Final = 16
"""Events that are mapped before the loop gets its turn: about a millisecond."""
_LONGEST_PREVIEW: Final = 5.0
"""Seconds after which an action that waits for something is given up where its requests are shown."""
_GRAVEST: Final = (
    "bad_credentials",
    "bad_config",
    "rate_limited",
    "retry",
    "too_large",
    "resend",
    "bad_event",
    "delivered",
    "skipped",
)
"""Of an event that several mappings match: the first of these that any of them came to is what became of it."""


class _Call(Struct, eq=False):
    """What a mapping made of an event, on its way."""

    place: int
    """The event's, in the batch."""
    subscription: Subscription
    payload: Struct
    entry: Entry


class ActionDestination(Destination):
    """Base of destinations that consist of actions."""

    Config: ClassVar[type[ActionsConfig]] = ActionsConfig
    actions: ClassVar[Sequence[Action]] = ()
    """All that it can do."""
    presets: ClassVar[Sequence[Preset]] = ()
    """What it does unless the configuration says otherwise."""
    answers: ClassVar[Table] = Table()
    """Where its vendor's answers mean something else than usual."""
    connection: ClassVar[ConnectionTest | None] = None
    """How its connection is tested; None: it cannot be, without an event."""
    example_settings: ClassVar[Mapping[str, Any]] = {}
    """Settings with which it can be made, for documentation and cases: those that have no default."""
    example_mapping: ClassVar[Mapping[str, Any]] = {}
    """Fields without which no action of it can run, such as an address."""
    calls_insert = True
    requests_at_once: int = 8
    """Requests of one batch that may run side by side; each user's go one after the other."""

    def __init__(self, config: Any, env: DestinationEnv) -> None:
        super().__init__(config, env)
        self.client = Client(env)
        self.subscriptions = subscriptions(type(self).actions, type(self).presets_for(config), config)
        self._memory = Memory()

    @classmethod
    def problems(cls, config: Any) -> Iterable[Problem]:
        """What is wrong in `actions`: unknown names, missing fields, triggers and mappings that are no such."""
        yield from super().problems(config)
        yield from problems_of(cls.actions, cls.presets_for(config), config)

    @classmethod
    def presets_for(cls, config: Any) -> Sequence[Preset]:  # noqa: ARG003 - for subclasses
        """The presets as they are with these settings, where those decide. Default: all of `presets`, as they are."""
        return cls.presets

    async def call(self, method: str, url: str, **more: Any) -> Answer:
        """Make a request: see `Client.send`, which this is, for its options.

        Raises what aiohttp raises; whoever lets that through says the right thing.
        """
        return await self.client.send(method, url, **more)

    def outcome(self, answer: Answer) -> Outcome:
        """What an answer means for the events of its request, by this destination's table."""
        return outcome_of(answer, self.env.clock.now_ms(), answer.request, type(self).answers)

    async def check(self) -> Checked:
        test = type(self).connection
        if test is None:
            return await super().check()
        try:
            found = await test.ask(self)
        except Exception as error:
            outcome = outcome_of_error(error)
            if outcome is None:
                raise
            return Checked("failed", getattr(outcome, "reason", str(error)))
        if isinstance(found, Checked):
            return found
        table = type(self).answers if test.answers is None else test.answers
        return checked_of(found, self.env.clock.now_ms(), test.ok, table)

    @classmethod
    def can_check(cls) -> bool:
        return cls.connection is not None or cls.check is not ActionDestination.check

    # -- delivering ----------------------------------------------------------------------------------------

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        told: list[dict[str, Outcome]] = []
        calls: list[_Call] = []
        strict, refused = self.config.ordering == "strict", False
        for place, (event, matching) in enumerate(await self._inserted(batch.events)):
            if refused:  # nothing overtakes an event that its own mapping refused
                told.append({"": HELD})
            elif isinstance(event, Event):
                told.append(self._prepare(place, event, calls, matching))
            else:
                told.append({"": event})
            refused = refused or (strict and any(of.kind == "bad_event" for of in told[-1].values()))
            if place % _TURN == _TURN - 1:
                await anyio.lowlevel.checkpoint()
        if calls:
            entries = [call.entry for call in calls]
            outcomes = await run_steps(
                entries,
                plan(entries),
                lambda places: self._perform([calls[place] for place in places]),
                at_once=max(1, round(self.requests_at_once * batch.share)),
                strict=strict,
            )
            for call, outcome in zip(calls, outcomes, strict=True):
                told[call.place][call.subscription.name] = outcome
        return [self._whole(event, of) for event, of in zip(batch.events, told, strict=True)]

    def preview(self, event: Event) -> object:
        """The requests that it would make, as JSON; where a mapping comes to none, why."""
        calls: list[_Call] = []
        told = self._prepare(0, event, calls)
        shown: list[object] = [_told(name, outcome) for name, outcome in told.items()]
        return shown + (run_apart(partial(self._recorded, calls)) if calls else [])

    async def _recorded(self, calls: Sequence[_Call]) -> list[object]:
        """The requests of these calls, of which none is made, nor one for credentials."""
        shown: list[object] = []
        client, recorder = self.client, Recorder()
        transport, authorization = client.transport, client.authorization
        client.transport = recorder
        client.authorization = None if authorization is None else Nobody()
        try:
            for call in calls:
                recorder.requests.clear()
                outcomes: Sequence[Outcome] = (TryAgain("it waits for something else than its requests"),)
                with anyio.move_on_after(_LONGEST_PREVIEW):
                    outcomes = await self._perform([call])
                shown += [request.shown for request in recorder.requests]
                if not recorder.requests:
                    shown.append(_told(call.subscription.name, outcomes[0]))
        finally:
            client.transport, client.authorization = transport, authorization
        return shown

    async def _inserted(
        self, events: Sequence[Event]
    ) -> Sequence[tuple[Event | Outcome, Sequence[Subscription] | None]]:
        """Events as the insert function leaves them, with the mappings that matched before it; it gets no others."""
        insert = self.env.insert
        if insert is None:
            return [(event, None) for event in events]
        matching = [self._matching(decode_value(Raw(event.line()))) for event in events]
        asked = [place for place, found in enumerate(matching) if found]
        after: list[Event | Outcome] = list(events)
        for place, event in zip(asked, await insert([events[place] for place in asked]), strict=True):
            after[place] = event
        return list(zip(after, matching, strict=True))

    def _matching(self, decoded: Mapping[str, Any]) -> list[Subscription]:
        return [each for each in self.subscriptions if each.matches(decoded)]

    def _prepare(
        self, place: int, event: Event, calls: list[_Call], matching: Sequence[Subscription] | None = None
    ) -> dict[str, Outcome]:
        """What the event's mappings make of it: calls, and outcomes of those that come to none.

        `matching`: those that it matched before an insert function had it; None: it is asked here.
        """
        decoded = decode_value(Raw(event.line()))
        matching = self._matching(decoded) if matching is None else matching
        if not matching:
            return {"": Skipped(NO_MATCH)}
        told: dict[str, Outcome] = {}
        user = user_of(event, self.config.ordering)
        before = self._memory.told(event)
        for subscription in matching:
            if subscription.name in before:
                told[subscription.name] = before[subscription.name]
                continue
            try:
                payload, errors = subscription.payload(decoded)
                if payload is not None:
                    entry = self._entry(subscription, payload, event, user)
                    calls.append(_Call(place, subscription, payload, entry))
                    continue
            except Exception as error:
                # A fault, but of one event's mapping: nobody else is to wait for it to be mended.
                self.env.log.exception("a mapping failed", mapping=subscription.name)
                errors = [f"the mapping failed: {type(error).__name__}: {error}"]
            told[subscription.name] = BadEvent(f"{INVALID}: {subscription.name}: {'; '.join(errors)}")
        return told

    def _entry(
        self, subscription: Subscription, payload: Struct, event: Event, user: Hashable | None
    ) -> Entry:
        batching = subscription.action.batching
        if batching is None:
            return Entry(object(), user)
        own: Hashable = msgspec.json.encode([getattr(payload, key) for key in batching.keys])
        key = (subscription.name, own if batching.by is None else (own, batching.by(payload)))
        weight = 1 if batching.weight is None else batching.weight(payload)
        most = batching.max_events
        if batching.limit is not None:
            most = min(most, max(batching.limit(payload), 1))
        return Entry(key, user, len(event.line()), weight, most, batching.max_bytes)

    async def _perform(self, calls: Sequence[_Call]) -> Sequence[Outcome]:
        """One outcome a call; a failure is one too."""
        action = calls[0].subscription.action
        payloads = [call.payload for call in calls]
        try:
            if action.perform_batch is not None and (len(payloads) > 1 or action.perform is None):
                result = await action.perform_batch(self, payloads)
            else:
                assert action.perform is not None
                result = await action.perform(self, payloads[0])
            return self._meanings(result, len(payloads))
        except Exception as error:
            outcome = outcome_of_error(error)
            if outcome is None:
                # The destination's own fault. It must not hide what became of the batch's other requests.
                self.env.log.exception("an action failed", action=action.name)
                outcome = TryAgain(f"the action {action.name} failed: {type(error).__name__}: {error}")
            return [outcome] * len(payloads)

    def _meanings(self, result: Result | Sequence[Result], payloads: int) -> list[Outcome]:
        if not isinstance(result, Sequence):
            return [self._meaning(result)] * payloads
        if len(result) != payloads:
            raise ValueError(f"it told {len(result)} results for {payloads} payloads")
        return [self._meaning(each) for each in result]

    def _meaning(self, result: Result) -> Outcome:
        if result is None:
            return Delivered()
        if isinstance(result, Answer):
            return self.outcome(result)
        if not isinstance(result, OUTCOMES):
            raise TypeError(f"it returned {result!r}: an Answer, an Outcome or None is expected")
        return result

    def _whole(self, event: Event, told: Mapping[str, Outcome]) -> Outcome:
        """What became of an event, of all its mappings; where it comes again, those that are through do not."""
        gravest = min(told.values(), key=lambda outcome: _GRAVEST.index(outcome.kind))
        if gravest.kind in _COMES_AGAIN and len(told) > 1:
            self._memory.keep(event, told)
        else:
            self._memory.forget(event)
        return gravest


def _told(name: str, outcome: Outcome) -> dict[str, object]:
    reason = outcome.code if isinstance(outcome, Skipped) else getattr(outcome, "reason", "")
    return {"mapping": name, "outcome": outcome.kind, "reason": reason}
