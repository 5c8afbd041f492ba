"""What may go wrong between a client and the daemon, and what must hold whatever it is: each event once, unchanged.

Spec: wire.md §8, the retries of each SDK.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.clients.proxy import RESET, RESET_AFTER, Delay, Fault, Proxy, proxy
from tests.clients.same import assert_each_once
from tests.clients.six_calls import CONFIG, Sdk
from tests.running import RunningDaemon, running


class Trouble(Struct, frozen=True):
    """Happens to the first request with events."""

    name: str
    fault: Callable[[], Fault | Delay]
    retries: int = 3
    """How many retries the client is allowed."""
    patience: int = 10
    """Seconds that the client waits for an answer."""


TOO_MANY = Trouble("429", lambda: Fault(status=429, headers={"Retry-After": "1"}))
BROKEN = Trouble("500", lambda: Fault(status=500))
LOST = Trouble("reset", lambda: RESET)
UNHEARD = Trouble("answer lost", lambda: RESET_AFTER)
HELD = Trouble("answer too late", Delay, patience=1)
TROUBLES = [TOO_MANY, BROKEN, LOST, UNHEARD, HELD]


async def assert_each_once_despite(folder: Path, trouble: Trouble, sdk: Sdk, **options: Any) -> None:
    """The SDK's first request meets the trouble: it sends it again, and each event is stored once and unchanged."""
    free = trouble is TOO_MANY and sdk.retry_after_is_free
    async with running(folder, CONFIG) as daemon, proxy(daemon.url) as between:
        between.faults.append(trouble.fault())
        retries = 0 if free else trouble.retries
        errors = await sdk.six_calls(between.url, retries=retries, patience=trouble.patience, **options)
        assert errors == []
        first, *others = between.posts()
        again = [request for request in others if ids(request.events()) == ids(first.events())]
        assert again, "the first request was sent again"
        assert again[-1].status == 200
        await assert_stored_once(daemon, between)


async def assert_stored_once(daemon: RunningDaemon, between: Proxy) -> None:
    """Each event that was sent is in `events` once; what the daemon got twice is discarded as a duplicate, no more."""
    taken = Counter[str]()
    for request in between.posts():
        if request.daemon == 200:
            taken.update(ids(request.events()))
    twice = taken - Counter(list(taken))
    stored = await daemon.wait_for("events", len(taken))
    discarded = await daemon.wait_for("discarded", twice.total()) if twice else daemon.lines("discarded")
    assert_each_once(between, stored)
    assert Counter(line["line"]["messageId"] for line in discarded) == twice
    assert {(line["by"], line["code"]) for line in discarded} <= {("dedup", "duplicate")}
    assert len(daemon.lines("received")) == taken.total()


async def assert_drops_what_is_refused(folder: Path, sdk: Sdk) -> None:
    """An unknown write key is final: each event is sent once, the SDK says so, goes on, and ends well."""
    async with running(folder, CONFIG) as daemon, proxy(daemon.url) as between:
        errors = await sdk.six_calls(between.url, "wk_of_nobody")
        assert errors
        assert set(between.answers()) == {401}
        sent = [name for request in between.posts() for name in ids(request.events())]
        assert len(sent) == len(set(sent)) == 6
        assert daemon.lines("received") == []


def ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["messageId"] for event in events]
