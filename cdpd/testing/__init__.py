"""The kit for tests of hook plugins and destinations; `cdpd new` writes packages whose tests use it.

    async def test_a_new_customer_is_marked() -> None:
        async with running_hook(Customers, {"path": "customers.csv"}) as hook:
            passed = await hook.send({"event": "Signed Up", "userId": "u1"})
        assert passed.event["context"]["customer"] == "new"

    async def test_a_busy_vendor_is_asked_again() -> None:
        async with running_vendor() as vendor, running_destination(Chat, {"url": vendor.url}) as chat:
            vendor.replies(Reply(429, {"Retry-After": "7"}))
            (outcome,) = await chat.deliver({"event": "Signed Up", "userId": "u1"})
        assert isinstance(outcome, RateLimited)
        assert outcome.after == 7

    @pytest.mark.parametrize("case", cases_of(Path(__file__).with_name("cases.json")))
    async def test_a_case(case: Case) -> None:
        await case.check(Radio)

    async def test_a_song_without_a_title_is_not_sent() -> None:
        acted = await run_action(Radio, "play", {"properties": {}})
        assert isinstance(acted.outcome, BadEvent)
        assert acted.requests == []

    async def test_a_wrong_key_is_found_without_an_event() -> None:
        found, requests = await run_check(Radio, replies=[401])
        assert found.state == "failed"
        assert requests[0]["method"] == "GET"

The last three are for destinations made of actions, whose requests they look at; nothing is sent there.
Hooks run through the chain's own code and destinations through delivery's own sending, so what passes here passes
in the daemon. Time is a `FakeClock` that stands still until a test moves it. Nothing here needs a daemon, a network
beyond the loopback, or a particular test framework; the functions that wait are `async` (pytest-asyncio runs them).
"""

from cdpd.testing.acting import Acted, Connected, run_action, run_check
from cdpd.testing.cases import Case, cases_of
from cdpd.testing.clock import FakeClock
from cdpd.testing.destinations import RunningDestination, running_destination
from cdpd.testing.events import event_line, make_event
from cdpd.testing.hooks import Discarded, Passed, RunningHook, running_hook
from cdpd.testing.log import Entry, KeptLog
from cdpd.testing.options import configured
from cdpd.testing.vendor import (
    CUT,
    HANG,
    REDIRECT_LOOP,
    RESET,
    Reply,
    Request,
    Vendor,
    huge,
    retry_after,
    retry_after_date,
    running_vendor,
)

__all__ = [
    "CUT",
    "HANG",
    "REDIRECT_LOOP",
    "RESET",
    "Acted",
    "Case",
    "Connected",
    "Discarded",
    "Entry",
    "FakeClock",
    "KeptLog",
    "Passed",
    "Reply",
    "Request",
    "RunningDestination",
    "RunningHook",
    "Vendor",
    "cases_of",
    "configured",
    "event_line",
    "huge",
    "make_event",
    "retry_after",
    "retry_after_date",
    "run_action",
    "run_check",
    "running_destination",
    "running_hook",
    "running_vendor",
]
