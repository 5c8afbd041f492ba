"""Scenarios of a machine that fails: killed, without power, with a bad disk, a wrong clock, or too few descriptors."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Final

import anyio
import anyio.to_thread

from cdpd.testing import Reply
from tests.faults.machine import (
    CHANGES,
    BlockDisk,
    lacks_mounts,
    lacks_power_loss,
    lacks_preload,
    resize_tmpfs,
    set_read_only,
    tmpfs,
)
from tests.faults.scenario import Scenario, scenario
from tests.faults.world import World
from tests.running import roles


@asynccontextmanager
async def _load(world: World) -> AsyncIterator[None]:
    """Clients send all along inside the `with`; what was not acknowledged at its end is not sent again."""
    async with anyio.create_task_group() as clients:
        clients.start_soon(world.load.send_until_cancelled)
        yield
        clients.cancel_scope.cancel()


async def _acknowledged(world: World, more: int) -> None:
    """Return once so many more events were acknowledged."""
    enough = len(world.load.notes.acknowledged) + more
    await world.until(lambda: len(world.load.notes.acknowledged) >= enough, f"{more} more are acknowledged")


async def _well_again(world: World, more: int = 40) -> None:
    """More events come, and everything that was acknowledged arrives."""
    await world.load.send(more)
    await world.until_delivered()


def _vendor_is_moody(world: World) -> None:
    """Now and then it fails, so that there are retries at every moment."""
    world.vendor.replies(*(Reply(world.random.choice((200, 200, 200, 503))) for _ in range(20)))


# -- ends --------------------------------------------------------------------------------------------------


@scenario("`kill -9` under load: what was acknowledged is there; doubled is at most what was in flight.")
async def killed(world: World) -> str:
    await world.vendor.open()
    await world.start()
    for _ in range(world.times):
        _vendor_is_moody(world)
        async with _load(world):
            await _acknowledged(world, world.random.randrange(1, 300))
            await world.kill()
            await world.start()
            await _acknowledged(world, 1)
    await _well_again(world)
    return f"killed: {world.times}x"


@scenario("`kill -9` of one of three processes: it comes again, the others go on, nothing is lost.")
async def one_process_killed(world: World) -> str:
    world.configure(more=roles([["ingest"], ["process"], ["deliver"]]))
    await world.vendor.open()
    await world.start()
    killed = []
    for _ in range(world.times):
        async with _load(world):
            await _acknowledged(world, world.random.randrange(1, 200))
            before = await world.processes()
            name = world.random.choice(sorted(before))
            world.note_end()
            os.kill(before[name]["pid"], signal.SIGKILL)
            killed.append(name)
            await world.until_restarted(name, before[name]["starts"])
            await _acknowledged(world, 20)
            world.note_start()
    await _well_again(world)
    return f"killed: {', '.join(killed)}"


@scenario(
    "SIGTERM under load: requests are finished, batches in flight too; it ends with 0, nothing doubled."
)
async def stopped(world: World) -> str:
    await world.vendor.open()
    await world.start()
    for _ in range(world.times):
        _vendor_is_moody(world)
        async with _load(world):
            await _acknowledged(world, world.random.randrange(1, 300))
            await world.stop()
            await world.start()
            await _acknowledged(world, 1)
    await _well_again(world)
    return f"stopped: {world.times}x, with 0"


@scenario(
    "The power fails under load: everything acknowledged was synced, and is there.",
    lacks_power_loss,
    machine=True,
)
async def without_power(world: World) -> str:
    await world.vendor.open()
    with BlockDisk(world.folder, world.daemon.data) as disk:
        await world.start()
        for _ in range(world.times):
            async with _load(world):
                await _acknowledged(world, world.random.randrange(1, 300))
                world.load.disk_is_gone = True
                disk.lose_power()
                await world.kill()
            world.load.disk_is_gone = False
            disk.power_on()
            world.page.new_boot()
            await world.start()
        await _well_again(world)
        await world.finish()
    return f"power losses on ext4: {world.times}"


@scenario(
    "Bytes that nobody was promised at the end of every file: set aside or cut off, nothing lost.",
    lacks_preload,
    machine=True,
)
async def torn_tails(world: World) -> str:
    await world.vendor.open()
    world.vendor.otherwise = Reply(503)
    await world.start()
    await world.load.send(100)
    await world.kill()
    torn = 0
    for path in [*sorted(world.daemon.data.glob("log/*/*.ndjson.zst")), world.daemon.data / "state.db-wal"]:
        content = path.read_bytes()
        with path.open("ab") as file:
            # Half of what was there once more, or noise: as a write leaves it that the machine did not survive.
            noise = world.random.randbytes(world.random.randrange(1, 3000))
            file.write(world.random.choice((content[: len(content) // 2], noise, bytes(4096))))
        torn += 1
    if world.random.random() < 0.7:
        world.page.new_boot()  # else it was only the daemon that died
    world.vendor.otherwise = Reply()
    await world.start()
    await _well_again(world)
    return f"{torn} files with a torn tail"


# -- disks that fail -------------------------------------------------------------------------------------------


async def _failing(world: World, kinds: Sequence[str], error: int, path: str, each: int, partly: bool) -> str:
    """These calls fail for a while under load; then they do not."""
    await world.vendor.open()
    await world.start()
    await world.load.send(30)
    world.page.fail(*kinds, error=error, path=path, each=each, partly=partly)
    async with anyio.create_task_group() as clients:
        clients.start_soon(world.load.send, 200)
        failed = world.page.failed
        await world.until(lambda: world.page.failed >= failed + 3, "three calls have failed")
        with anyio.move_on_after(0.3 * world.scale):
            await anyio.sleep_forever()
        world.page.mend()
    await _well_again(world)
    refused = {status: n for status, n in world.load.answers.items() if status != 200}
    assert set(refused) <= {503}, refused
    often = f"one of {each}" if each > 1 else "each"
    return (
        f"{errno.errorcode[error]} from {often} {'/'.join(kinds)} in {path}: {world.page.failed} calls failed, "
        f"{refused.get(503, 0)} requests were answered 503"
    )


@scenario(
    "Writes to `received` fail: 503, nothing half-accepted; on by itself once they succeed.",
    lacks_preload,
    machine=True,
)
async def writes_of_received_fail(world: World) -> str:
    error = world.random.choice((errno.EIO, errno.ENOSPC))
    partly = world.random.random() < 0.5
    return await _failing(world, ["write"], error, "/log/received/", world.random.choice((1, 3)), partly)


@scenario(
    "Syncs of `received` fail: 503, never taken as if they had worked; on by itself once they succeed.",
    lacks_preload,
    machine=True,
)
async def syncs_of_received_fail(world: World) -> str:
    error = world.random.choice((errno.EIO, errno.ENOSPC))
    return await _failing(world, ["sync"], error, "/log/received/", world.random.choice((1, 2, 3)), False)


@scenario(
    "Anything that changes `events` or `discarded` fails: the pipeline waits; each event once.",
    lacks_preload,
    machine=True,
)
async def pipeline_cannot_write(world: World) -> str:
    kinds = world.random.choice((["write"], ["sync"], ["write", "sync", "truncate"], list(CHANGES)))
    error = world.random.choice((errno.EIO, errno.ENOSPC))
    path = world.random.choice(("/log/events/", "/log/discarded/"))
    return await _failing(world, kinds, error, path, 1, world.random.random() < 0.5)


@scenario(
    "state.db cannot be written: deliveries are kept in mind until it can; nothing lost, nothing doubled.",
    lacks_preload,
    machine=True,
)
async def state_cannot_be_written(world: World) -> str:
    kinds = world.random.choice((["write"], ["sync"], ["write", "sync"]))
    return await _failing(world, kinds, world.random.choice((errno.EIO, errno.ENOSPC)), "/state.db", 1, False)


@scenario(
    "Every third call that changes any file fails, for a while: nothing lost.", lacks_preload, machine=True
)
async def whole_disk_is_flaky(world: World) -> str:
    error = world.random.choice((errno.EIO, errno.ENOSPC, errno.EROFS))
    return await _failing(world, list(CHANGES), error, "/data/", world.random.choice((2, 3, 5)), True)


@scenario(
    "The disk becomes read-only under load: 503; on by itself once it is writable.",
    lacks_preload,
    machine=True,
)
async def becomes_read_only(world: World) -> str:
    return await _failing(world, list(CHANGES), errno.EROFS, "/data/", 1, False)


@scenario(
    "A full disk: 503 and nothing half-written; what was taken is delivered; on once there is room.",
    lacks_mounts,
)
async def full_disk(world: World) -> str:
    world.load.filler = 8000
    await world.vendor.open()
    with tmpfs(world.daemon.data, 3):
        await world.start()
        async with anyio.create_task_group() as clients:
            clients.start_soon(world.load.send, 700)
            await world.until(lambda: world.load.answers.get(503, 0) >= 5, "requests are answered 503")
            assert shutil.disk_usage(world.daemon.data).free < 100_000
            resize_tmpfs(world.daemon.data, 64)
        await _well_again(world)
        refused = world.load.answers[503]
        await world.finish()
    return f"{refused} requests were answered 503"


@scenario("Killed on a full disk, and started on it: nothing lost.", lacks_mounts)
async def killed_on_a_full_disk(world: World) -> str:
    world.load.filler = 8000
    await world.vendor.open()
    with tmpfs(world.daemon.data, 3):
        await world.start()
        async with _load(world):
            await world.until(lambda: world.load.answers.get(503, 0) >= 5, "requests are answered 503")
            await world.kill()
        try:
            await world.start()
            told = "it started on the full disk"
        except AssertionError:
            said = world.said()
            assert "Traceback" not in said, said
            told = "it said that it cannot start on the full disk"
        resize_tmpfs(world.daemon.data, 64)
        if told.endswith("cannot start on the full disk"):
            await world.start()
        await _well_again(world)
        await world.finish()
    return told


@scenario(
    "A read-only data folder at the start: refused with a reason, nothing changed; starts once it is writable.",
    lacks_mounts,
)
async def starts_read_only(world: World) -> str:
    await world.vendor.open()
    world.vendor.otherwise = Reply(503)
    with tmpfs(world.daemon.data, 64):
        await world.start()
        await world.load.send(60)
        await world.stop()
        set_read_only(world.daemon.data, True)
        said = await world.start_refused()
        assert "ead-only" in said, said
        set_read_only(world.daemon.data, False)
        world.vendor.otherwise = Reply()
        await world.start()
        await _well_again(world)
        await world.finish()
    return f"it said: {said.strip().splitlines()[-1]}"


# -- clocks, descriptors, backups ------------------------------------------------------------------------------


@scenario(
    "The clock jumps forward and back by hours, under load: nothing lost, nothing doubled, order kept.",
    lacks_preload,
    machine=True,
)
async def clock_jumps(world: World) -> str:
    await world.vendor.open()
    await world.start()
    hours = [round(world.random.uniform(-30, 30), 1) for _ in range(4)]
    for off in [*hours, 0]:
        async with anyio.create_task_group() as clients:
            clients.start_soon(world.load.send, 40)
            world.page.set_clock(off * 3600)
    await world.stop()
    world.page.set_clock(world.random.choice((-1, 1)) * 5 * 3600)
    await world.start()
    await _well_again(world)
    return f"the clock was off by {', '.join(f'{off:+.1f}' for off in hours)} hours"


@scenario(
    "No descriptor is left: it goes on with what it has, refuses what it cannot take, and recovers by itself."
)
async def descriptors_run_out(world: World) -> str:
    await world.vendor.open()
    await world.start()
    await world.load.send(30)
    used = len(os.listdir(f"/proc/{world.daemon.pid}/fd"))  # noqa: PTH208 - no disk's files
    hard = resource.prlimit(world.daemon.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(world.daemon.pid, resource.RLIMIT_NOFILE, (used + 3, hard))
    host, port = world.daemon.url.removeprefix("http://").split(":")
    with ExitStack() as idle:
        for _ in range(40):
            one = idle.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect((host, int(port)))
        async with anyio.create_task_group() as clients:
            clients.start_soon(world.load.send, 60)
            await anyio.sleep(0.5)
            idle.close()
            resource.prlimit(world.daemon.pid, resource.RLIMIT_NOFILE, (hard, hard))
    await _well_again(world)
    return f"{used + 3} descriptors for 40 connections and the clients"


@scenario(
    "A backup that is restored: all of before it is there, what came after is said to be gone; on from there."
)
async def restored_from_a_backup(world: World) -> str:
    backup = world.folder / "backup"
    await world.vendor.open()
    await world.start()
    await world.load.send(100)
    await world.until_delivered()
    async with anyio.create_task_group() as clients:
        clients.start_soon(world.load.send, 60)
        before = set(world.load.notes.acknowledged)
        await world.command("backup", str(backup))
    await world.load.send(50)
    await world.until_delivered()
    await world.kill()
    # The disk is lost, and with it what the backup does not have; the vendor got it before.
    shutil.rmtree(world.daemon.data)
    shutil.copytree(backup, world.daemon.data)
    kept = {line.id for line in world.stored().received}
    world.gone |= set(world.load.notes.attempted) - kept
    assert before <= kept
    # What was delivered after the backup's cursor comes again: nothing that is left knows of it.
    world.may_come_again()
    await world.start()
    await _well_again(world)
    return f"{len(world.gone)} events came after the backup"


@scenario("state.db is lost: destinations begin at their `from`, loudly; delivered again, never left out.")
async def state_is_lost(world: World) -> str:
    await world.vendor.open()
    await world.start()
    await world.load.send(100)
    await world.until_delivered()
    await world.stop()
    for path in world.daemon.data.glob("state.db*"):
        path.unlink()
    world.may_come_again()
    await world.start()
    await world.until(lambda: "state.db is new, but the archive is not" in world.said(), "it says so")
    await _well_again(world)
    return "it said so, and sent everything again"


MACHINES: Final[tuple[Scenario, ...]] = (
    killed,
    one_process_killed,
    stopped,
    without_power,
    torn_tails,
    writes_of_received_fail,
    syncs_of_received_fail,
    pipeline_cannot_write,
    state_cannot_be_written,
    whole_disk_is_flaky,
    becomes_read_only,
    full_disk,
    killed_on_a_full_disk,
    starts_read_only,
    clock_jumps,
    descriptors_run_out,
    restored_from_a_backup,
    state_is_lost,
)
