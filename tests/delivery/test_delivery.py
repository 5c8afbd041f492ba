"""Delivery as a whole: where destinations begin, isolation, restarts, changes at run time."""

from __future__ import annotations

from pathlib import Path

from tests.delivery.rig import Rig


async def test_events_are_delivered_in_order_and_the_cursor_follows(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(250)
        await rig.settle()
    assert sorted(rig.sent) == sorted(f"m{i}" for i in range(250))
    for user in range(10):
        assert [m for m in rig.sent if int(m[1:]) % 10 == user] == [f"m{i}" for i in range(user, 250, 10)]
