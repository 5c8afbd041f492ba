"""Where messages of alerts go: to destinations, by their own code, or to a webhook; one message, one attempt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final, Literal

import aiohttp
import anyio
import msgspec
import structlog
from msgspec import Struct

from cdpd.alerts.message import Message
from cdpd.clock import Clock
from cdpd.config.alerts import AlertConfig
from cdpd.config.model import Config
from cdpd.delivery.lanes import Item
from cdpd.delivery.making import DestinationError, Maker
from cdpd.delivery.mask import Mask
from cdpd.delivery.sending import send
from cdpd.destinations.answers import failure_of, outcome_of
from cdpd.destinations.contract import Destination
from cdpd.destinations.exchange import send as exchange
from cdpd.destinations.outcome import BadEvent, Delivered, Outcome, Skipped, TooLarge
from cdpd.event import BEGINNING
from cdpd.foreign import ends_us
from cdpd.secret import Secret, secrets_in

TIMEOUT: Final = 10.0
"""Seconds for a webhook."""
LONGEST: Final = 45.0
"""Seconds for a destination, its start and end included."""
_SHOWN: Final = 500
"""Characters of an answer that are shown."""
_TO: Final = "to "
_WEBHOOK: Final = "webhook of "
_JSON: Final = {"Content-Type": "application/json"}


def channels_of(name: str, alert: AlertConfig) -> list[str]:
    """Where messages of an alert go. The names stand in state.db; an address may be a secret, so it does not."""
    return [*(_TO + destination for destination in alert.to), *([_WEBHOOK + name] if alert.webhook else [])]


class Told(Struct, frozen=True):
    """What became of a message."""

    result: Literal["delivered", "again", "refused"]
    reason: str = ""
    status: int | None = None
    after: float | None = None
    """Seconds that the receiver asked to wait."""
    answer: str = ""
    """What it said, where that is known."""


class Channels:
    """Sends by the configuration of this moment."""

    def __init__(self, maker: Maker, clock: Clock, log: structlog.typing.FilteringBoundLogger) -> None:
        self._maker = maker
        self._clock = clock
        self._log = log
        self.config = Config()

    async def send(self, channel: str, message: Message, attempt: int = 1) -> Told:
        """One attempt. Never raises but for cancellation."""
        secrets: list[Secret] = []
        try:
            if channel.startswith(_WEBHOOK):
                told = await self._post(channel.removeprefix(_WEBHOOK), message, secrets)
            else:
                told = await self._deliver(channel.removeprefix(_TO), message, attempt, secrets)
        except BaseException as error:  # a stranger's code may raise anything
            if ends_us(error):
                raise
            failure = failure_of(error)
            told = Told("again", f"{type(error).__name__}: {error}" if failure is None else failure.reason)
        mask = Mask(secrets)
        return msgspec.structs.replace(told, reason=mask(told.reason), answer=mask(told.answer)[:_SHOWN])

    async def _deliver(self, name: str, message: Message, attempt: int, secrets: list[Secret]) -> Told:
        options = self.config.destinations.get(name)
        if options is None:
            return Told("refused", "there is no such destination in the configuration any more")
        try:
            made = self._maker.read(name, options)
        except DestinationError as error:
            return Told("again", str(error))
        secrets += secrets_in(made.config)
        if not made.config.enabled:
            return Told("again", "it is not enabled")
        if "track" not in made.kind.supports:
            return Told("refused", "it takes no track events, and an alert is one")
        with anyio.fail_after(LONGEST):
            async with self._maker.instance(name, made) as destination, _started(destination):
                item = Item(BEGINNING, message.at_ms, None, message.line())
                sent = await send(destination.deliver, [item], attempt, self._clock, Mask(secrets))
        if sent.fault:
            self._log.error("a destination itself failed at an alert", destination=name, exception=sent.fault)
        return _told(sent.outcomes[0])

    async def _post(self, alert_name: str, message: Message, secrets: list[Secret]) -> Told:
        alert = self.config.alerts.get(alert_name)
        if alert is None or alert.webhook is None:
            return Told("refused", "it has no webhook in the configuration any more")
        secrets.append(alert.webhook)
        url = alert.webhook.reveal()
        async with _session() as http:
            answer = await exchange(http, "POST", url, data=message.body(), headers=_JSON)
        outcome = outcome_of(answer, self._clock.now_ms())
        if isinstance(outcome, Delivered):
            return Told("delivered", status=answer.status, answer=answer.body)
        # Also what was refused (400, 404 …) is tried again: most likely the address is wrong, and will be put right.
        return msgspec.structs.replace(_told(outcome), result="again", answer=answer.body)


def _told(outcome: Outcome) -> Told:
    match outcome:
        case Delivered(status):
            return Told("delivered", status=status)
        case Skipped(code):
            return Told("refused", f"it skipped it: {code}")
        case BadEvent() | TooLarge():
            return Told("refused", outcome.reason, outcome.status, answer=outcome.answer)
    after = getattr(outcome, "after", None)
    return Told("again", outcome.reason, outcome.status, after, getattr(outcome, "answer", ""))


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"cdpd/{version('cdpd-daemon')}"},
    )


@asynccontextmanager
async def _started(destination: Destination) -> AsyncIterator[None]:
    await destination.start()
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await destination.stop()
