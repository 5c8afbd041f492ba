"""`cdpd discarded retry`: which lines are meant, how they come again, and that nothing doubles."""

from __future__ import annotations

from typing import Any

import msgspec

from cdpd.control.contract import DiscardedFilter
from cdpd.pipeline.retry_discarded import retry_discarded
from cdpd.timestamp import format_time
from tests.clock import FakeClock
from tests.pipeline.rig import CONFIG_ID, Rig, configuration, lines, received_line

TRACK = {"type": "track", "event": "A", "userId": "u"}
DROP = {"drop": {"rules": [{"event": "A"}]}}


def chain(*hooks: str, **tables: Any) -> Any:
    return configuration(pipeline={"hooks": list(hooks)}, **tables)


async def retry(rig: Rig, which: DiscardedFilter | None = None, dry_run: bool = False) -> dict[str, Any]:
    return await retry_discarded(
        rig.discarded, rig.received, which or DiscardedFilter(), config_id=CONFIG_ID, dry_run=dry_run
    )


async def turn_away(rig: Rig, *names: str, **line: Any) -> None:
    """Events that the drop hook turns away."""
    texts = [received_line(TRACK, message_id=name, **line) for name in names]
    await rig.received.append(texts, config_id=CONFIG_ID)
    await rig.handle_all(chain("spec", "dedup", "drop", hooks=DROP))


async def test_a_retried_event_comes_with_its_first_receipt_and_where_it_was(rig: Rig) -> None:
    await turn_away(rig, "a", "b", sentAt="2024-03-05T12:00:00Z", via={"userAgent": "x"})
    assert await retry(rig, DiscardedFilter(message_id="b")) == {"matched": 1, "retried": 1, "skipped": 0}
    before, again = (msgspec.json.decode(lines(rig.received)[n]) for n in (1, 2))
    assert again == {**before, "retryOf": 1}
    await rig.handle_all(chain("spec", "dedup"))
    [event] = rig.stored()
    assert event["messageId"] == "b"
    assert event["receivedAt"] == "2024-03-05T12:00:05.300Z"
    assert [line["line"]["messageId"] for line in rig.turned_away()] == ["a", "b"], (
        "what was turned away stays listed"
    )


async def test_retrying_twice_stores_once(rig: Rig) -> None:
    await turn_away(rig, "a")
    await retry(rig)
    await retry(rig)
    await rig.handle_all(chain("spec", "dedup"))
    assert [event["messageId"] for event in rig.stored()] == ["a"]
    assert rig.codes() == ["dropped", "duplicate"]


async def test_a_dry_run_only_counts(rig: Rig) -> None:
    await turn_away(rig, "a", "b")
    assert await retry(rig, dry_run=True) == {"matched": 2, "retried": 0, "skipped": 0}
    assert rig.received.end.offset == 2


async def test_every_part_of_the_filter_restricts(rig: Rig) -> None:
    clock = rig.clock
    assert isinstance(clock, FakeClock)
    start = clock.now_ms()
    await turn_away(rig, "a", "b")
    clock.wall_ms += 1000
    await turn_away(rig, "c", source="gone")
    clock.wall_ms += 1000
    await turn_away(rig, "d", "a")

    async def matched(**which: Any) -> int:
        found: int = (await retry(rig, DiscardedFilter(**which), dry_run=True))["matched"]
        return found

    assert await matched() == 5
    assert await matched(code="dropped") == 4
    assert await matched(code="source_removed") == 1
    assert await matched(by="pipeline") == 1
    assert await matched(by="drop", message_id="a") == 2
    assert await matched(source="gone") == 1
    assert await matched(source="website", code="source_removed") == 0
    assert await matched(from_ms=start + 1000) == 3
    assert await matched(to_ms=start + 1000) == 2
    assert await matched(from_ms=start + 1, to_ms=start + 2000) == 1
    assert await matched(from_offset=1, to_offset=4) == 3
    assert await matched(from_offset=5) == 0
    assert rig.turned_away()[0]["at"] == format_time(start)


async def test_what_was_not_kept_whole_is_skipped_and_what_ingest_rejected_gets_its_try(rig: Rig) -> None:
    large = received_line(TRACK, message_id="large", reject="event_too_large")
    head = {
        "receivedAt": "2024-03-05T12:00:05.300Z",
        "source": "website",
        "messageId": "x",
        "via": {"path": "/v1/b"},
    }
    deep = msgspec.json.encode({**head, "reject": "too_deep", "raw": "{"})
    number = msgspec.json.encode({**head, "reject": "event_not_object", "event": 7})
    await rig.received.append([large, deep, number, b'"no line"'], config_id=CONFIG_ID)
    await rig.handle_all()
    assert await retry(rig) == {"matched": 4, "retried": 1, "skipped": 3}
    await rig.handle_all()
    assert [event["messageId"] for event in rig.stored()] == ["large"]


async def test_thousands_are_retried(rig: Rig) -> None:
    await turn_away(rig, *map(str, range(2600)))
    assert (await retry(rig))["retried"] == 2600
    await rig.handle_all(chain("spec", "dedup"))
    assert [event["messageId"] for event in rig.stored()] == [str(n) for n in range(2600)]
