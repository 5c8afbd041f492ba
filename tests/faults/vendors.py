"""Scenarios of vendors that fail: they refuse, hang, cut, lie, ask to wait, or cannot be found or trusted."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio

from cdpd.testing import CUT, HANG, REDIRECT_LOOP, RESET, Reply, huge, retry_after, retry_after_date
from tests.certificates import make_certificate
from tests.faults.scenario import Scenario, scenario
from tests.faults.world import World

TIMEOUT: Final = 0.6
"""Seconds that the daemon waits for this vendor."""
_SHORT: Final = f"timeout = {TIMEOUT}"


async def _healed(world: World, *, wake: bool = False) -> None:
    """From here on the vendor is well: more events come, and everything arrives."""
    if wake:
        await world.reload()
    await world.load.send(40)
    await world.until_delivered()


async def _bad_answers(world: World, replies: Sequence[Reply], many: int = 80) -> str:
    """These answers, in turn, in the midst of good ones, while events come in."""
    world.configure(out=_SHORT)
    await world.vendor.open()
    await world.start()
    # Each trouble is followed by a good answer now and then: a vendor that only fails is another scenario.
    for reply in replies:
        world.vendor.replies(reply, *[200] * world.random.randrange(2))
    await world.load.send(many)
    while world.vendor.script:  # one batch more, as long as there are answers for it
        asked = len(world.vendor.requests)
        await world.load.send(5)
        await world.until(lambda asked=asked: len(world.vendor.requests) > asked, "the next batch comes")
    await _healed(world)
    return f"{len(world.vendor.requests)} requests, {len(set(world.vendor.unheard))} events whose answer was lost"


@scenario("Events wait in the log, the other destination does not notice; delivered once it listens.")
async def refuses(world: World) -> str:
    await world.start()
    await world.load.send(150)
    said = await world.until_failing()
    await world.until(lambda: len(set(world.copies())) >= len(world.load.good), "the other one has all")
    assert not world.vendor.took
    await world.vendor.open()
    await _healed(world)
    return f"it said: {said}"


@scenario("A connection that is cut before an answer: sent again, nothing doubled.")
async def resets_before_the_answer(world: World) -> str:
    return await _bad_answers(world, [RESET] * 4)


@scenario(
    "An answer that breaks off: sent again; doubled is only what the vendor took without our hearing it."
)
async def resets_mid_answer(world: World) -> str:
    happened = await _bad_answers(world, [CUT, Reply(length=5000), CUT, Reply(body=b"{}" * 400, length=3)])
    assert world.vendor.unheard
    return happened


@scenario("No answer at all: given up at the time-out, tried again, nothing doubled.")
async def hangs(world: World) -> str:
    world.configure(out=_SHORT)
    await world.vendor.open()
    world.vendor.otherwise = HANG
    await world.start()
    await world.load.send(120)
    said = await world.until_failing()
    assert "time" in said, said
    world.vendor.otherwise = Reply()
    await _healed(world)
    return f"it said: {said}"


@scenario("A 200 that comes after our time-out: sent again; doubled is only what it had taken.")
async def answers_too_late(world: World) -> str:
    happened = await _bad_answers(world, [Reply(delay=TIMEOUT * 20)] * 3)
    assert world.vendor.unheard
    return happened


async def _asks_to_wait(world: World, reply: Callable[[float], Reply], seconds: float) -> str:
    await world.vendor.open()
    await world.start()
    asked: list[float] = []

    def asks(_: object) -> None:
        asked.append(time.time())

    world.vendor.seen = asks
    world.vendor.otherwise = reply(time.time() + seconds)
    await world.load.send(100)
    await world.until(lambda: asked, "the vendor was asked")
    first = asked[0]
    world.vendor.otherwise = Reply()
    await _healed(world)
    early = [at - first for at in asked if at > first + 0.3 and at < first + seconds - 1]
    # What was in flight already when it asked to wait comes within a moment of it.
    assert not early, f"asked again after {early[0]:.1f} s, though it was told to wait"
    after = min((at for at in asked if at > first + 0.3), default=first) - first
    return f"asked again after {after:.1f} s"


@scenario("429 with Retry-After in seconds: nothing is sent before, then everything.")
async def asks_to_wait_seconds(world: World) -> str:
    return await _asks_to_wait(world, lambda at: retry_after(round(at - time.time())), 2)


@scenario("503 with Retry-After as a date: nothing is sent before, then everything.")
async def asks_to_wait_until_a_date(world: World) -> str:
    return await _asks_to_wait(world, lambda at: retry_after_date(at + 0.999, 503), 2)


@scenario(
    "500 for long: events wait in the log as long as it takes; a healed vendor gets them within seconds."
)
async def fails_for_an_hour(world: World) -> str:
    """An hour, scaled: seconds here, `--long` a minute."""
    await world.vendor.open()
    world.vendor.otherwise = Reply(world.random.choice((500, 502, 503, 504)))
    await world.start()
    seconds = 3 * world.scale
    with anyio.move_on_after(seconds):
        while True:
            await world.load.send(30)
            await anyio.sleep(0.3)
    # What the last clients did not hear of is theirs to send again; none of it is acknowledged.
    asked = len(world.vendor.requests)
    world.vendor.otherwise = Reply()
    healed = time.monotonic()
    await world.until(lambda: world.vendor.took, "the first event arrives")
    first = time.monotonic() - healed
    await _healed(world)
    return f"{asked} requests in {seconds:.0f} s away; the first event {first:.1f} s after it healed"


@scenario("400 for one event: that one is parked with request and answer, its neighbours are delivered.")
async def refuses_one_event(world: World) -> str:
    world.configure(mode="single")
    await world.vendor.open()
    world.vendor.refuses_bad = True
    await world.start()
    await world.load.send(150)
    await world.until_delivered(but=world.load.bad)
    parked = {one for one in world.load.good if world.load.bad(one)}
    await world.until_status(lambda status: status["parked"] == len(parked), "all bad ones are parked")
    await world.stop()
    assert set(world.delivered("out").parked) == parked
    return f"{len(parked)} parked"


@scenario("413 for large requests: halved until they fit, nothing doubled, nothing parked.")
async def takes_small_requests_only(world: World) -> str:
    await world.vendor.open()
    world.vendor.most_events = world.random.choice((1, 3, 7))
    await world.start()
    await world.load.send(150)
    await _healed(world)
    return f"at most {world.vendor.most_events} events a request; {len(world.vendor.requests)} requests"


@scenario("A 200 whose body is no JSON: the webhook asks for none, and delivers.")
async def answers_invalid_json(world: World) -> str:
    bodies = (b"{", b"<html>", b"\xff\xfe\x00", b"", b'{"a":' * 5000, b"NaN")
    return await _bad_answers(world, [Reply(body=body) for body in bodies])


@scenario("Answers of 10 MB: read no further than needed, memory stays small.")
async def answers_ten_megabytes(world: World) -> str:
    await world.vendor.open()
    await world.start()
    before = world.daemon_memory()
    world.vendor.replies(*[huge(status) for status in (200, 500, 200, 503, 200, 200)])
    await world.load.send(150)
    await _healed(world)
    grown = world.daemon_memory() - before
    assert grown < 64 * 1024, f"memory grew by {grown // 1024} MiB"
    return f"memory grew by {grown / 1024:.0f} MiB"


@scenario(
    "Connections that the vendor closes between requests: sent again where that hits a request, none doubled."
)
async def closes_connections(world: World) -> str:
    world.vendor.otherwise = Reply(closes=True)
    await world.vendor.open()
    await world.start()
    for _ in range(6):
        await world.load.send(25)
    await world.until_delivered()
    world.vendor.otherwise = Reply()
    await _healed(world)
    return f"{len(world.vendor.requests)} requests, each connection closed unannounced"


@scenario("A redirect loop: the destination pauses, says so, parks and drops nothing; on once it is mended.")
async def redirects_in_a_loop(world: World) -> str:
    await world.vendor.open()
    world.vendor.otherwise = REDIRECT_LOOP
    await world.start()
    await world.load.send(100)
    said = await world.until_failing()
    assert "redirect" in said, said
    world.vendor.otherwise = Reply()
    await _healed(world, wake=True)
    return f"it said: {said}"


@scenario(
    "A redirect to another host: not followed, people's data stays; the destination pauses and says so."
)
async def redirects_elsewhere(world: World) -> str:
    await world.vendor.open()
    world.vendor.otherwise = Reply(
        world.random.choice((301, 302, 307, 308)), {"Location": "http://127.0.0.9:9/"}
    )
    await world.start()
    await world.load.send(100)
    said = await world.until_failing()
    assert "127.0.0.9" in said, said
    world.vendor.otherwise = Reply()
    await _healed(world, wake=True)
    return f"it said: {said}"


@scenario("401: the destination pauses and says so, nothing is parked or dropped; on once the key is right.")
async def refuses_the_credentials(world: World) -> str:
    await world.vendor.open()
    world.vendor.otherwise = Reply(world.random.choice((401, 403)))
    await world.start()
    await world.load.send(100)
    said = await world.until_failing()
    status = await world.status()
    assert status["state"] == "paused"
    assert not status["parked"]
    world.vendor.otherwise = Reply()
    await _healed(world, wake=True)
    return f"it said: {said}"


def _server_context(world: World, name: str) -> ssl.SSLContext:
    certificate, key = make_certificate(world.folder / name, "cdp.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def _with_tls(world: World, begin: Callable[[], Awaitable[Callable[[], Awaitable[None]]]]) -> str:
    """The daemon trusts one certificate; `begin` starts a vendor that is not it, and returns what ends that."""
    trusted = _server_context(world, "trusted")
    world.daemon.environ = {
        **world.daemon.environ,
        "SSL_CERT_FILE": str(world.folder / "trusted" / "cdp.test.pem"),
    }
    world.configure(url=f"https://localhost:{world.vendor.port}/in", out=_SHORT)
    end = await begin()
    await world.start()
    await world.load.send(100)
    said = await world.until_failing()
    assert not world.vendor.took
    await end()
    await world.vendor.open(trusted)
    await _healed(world, wake=True)
    return f"it said: {said}"


@scenario("A certificate that is not trusted: nothing is sent to it, the destination pauses and says so.")
async def shows_a_wrong_certificate(world: World) -> str:
    async def begin() -> Callable[[], Awaitable[None]]:
        await world.vendor.open(_server_context(world, "other"))
        return world.vendor.close

    happened = await _with_tls(world, begin)
    assert "certificate" in happened, happened
    return happened


@scenario("A TLS handshake that is cut: tried again until it succeeds.")
async def cuts_the_handshake(world: World) -> str:
    async def begin() -> Callable[[], Awaitable[None]]:
        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            if world.random.random() < 0.5:
                writer.write(b"\x16\x03\x03\x00\x7a\x02\x00")  # the beginning of a hello
            writer.close()

        server = await asyncio.start_server(cut, "127.0.0.1", world.vendor.port, reuse_address=True)

        async def end() -> None:
            server.close()

        return end

    return await _with_tls(world, begin)


@scenario("A host name that cannot be resolved: events wait; delivered once it can.", machine=True)
async def cannot_be_resolved(world: World) -> str:
    world.page.resolve_names(False)
    world.configure(url=f"http://vendor.test:{world.vendor.port}/in")
    await world.vendor.open()
    await world.start()
    await world.load.send(100)
    said = await world.until_failing()
    assert "resolve" in said, said
    world.page.resolve_names(True)
    await _healed(world)
    return f"it said: {said}"


@scenario("All of it by turns, at random, while events come in.")
async def does_everything_wrong(world: World) -> str:
    wrongs = (
        RESET, CUT, retry_after(1), REDIRECT_LOOP, huge(500), Reply(closes=True), Reply(500), Reply(408),
        Reply(length=9999), Reply(body=b"{"), Reply(429), Reply(503), Reply(delay=TIMEOUT * 20),
    )  # fmt: skip
    world.configure(out=_SHORT)
    await world.vendor.open()
    await world.start()
    chosen = world.random.choices(wrongs, k=8)
    world.vendor.replies(*chosen)
    for _ in range(4):
        await world.load.send(40)
        await world.reload()  # what is paused by a redirect tries at once
    while world.vendor.script:
        await anyio.sleep(0.2)
        await world.reload()
    await _healed(world, wake=True)
    return f"{len(world.vendor.requests)} requests; answers lost for {len(set(world.vendor.unheard))} events"


VENDORS: Final[tuple[Scenario, ...]] = (
    refuses,
    resets_before_the_answer,
    resets_mid_answer,
    hangs,
    answers_too_late,
    asks_to_wait_seconds,
    asks_to_wait_until_a_date,
    fails_for_an_hour,
    refuses_one_event,
    takes_small_requests_only,
    answers_invalid_json,
    answers_ten_megabytes,
    closes_connections,
    redirects_in_a_loop,
    redirects_elsewhere,
    refuses_the_credentials,
    shows_a_wrong_certificate,
    cuts_the_handshake,
    cannot_be_resolved,
    does_everything_wrong,
)
