"""Objects (`set`) on their way from `received` to `events`: past the hooks of events, exactly once."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from cdpd.event import Event
from cdpd.hookspecs import Discard, hookimpl
from cdpd.metrics import ACCEPTED, ACCEPTED_OBJECTS
from cdpd.objects import set_event_of
from cdpd.plugins import Plugin
from tests.pipeline.rig import CONFIG_ID, Rig, configuration, received_line
from tests.pipeline.test_retry_discarded import retry

OBJECT = {"type": "set", "collection": "rooms", "id": "1", "properties": {"n": 1}}


async def put(rig: Rig, *ids: str, source: str = "website") -> None:
    texts = [
        received_line(OBJECT, kind="set", message_id=name, path="/v1/set", source=source) for name in ids
    ]
    await rig.received.append(texts, config_id=CONFIG_ID)


def chain(*hooks: str, **tables: Any) -> Any:
    return configuration(pipeline={"hooks": list(hooks)}, **tables)


async def test_an_object_goes_to_events_with_its_source_id_and_times(rig: Rig) -> None:
    await put(rig, "s1")
    await rig.handle_all(configuration())
    assert rig.stored() == [
        {
            **OBJECT,
            "messageId": "s1",
            "projectId": "website",
            "timestamp": "2024-03-05T12:00:05.300Z",
            "receivedAt": "2024-03-05T12:00:05.300Z",
        }
    ]
    assert rig.turned_away() == []
    assert rig.metrics.get(ACCEPTED_OBJECTS, "website") == 1
    assert rig.metrics.get(ACCEPTED, "website") == 0


async def test_an_event_of_the_type_set_is_none(rig: Rig) -> None:
    await rig.received.append([received_line({**OBJECT, "userId": "u"})], config_id=CONFIG_ID)
    await rig.handle_all(configuration())
    assert rig.stored() == []
    assert rig.codes() == ["unknown_type"]


async def test_objects_keep_their_place_among_events(rig: Rig) -> None:
    track = {"type": "track", "event": "A", "userId": "u", "messageId": "e1"}
    await put(rig, "s1")
    await rig.received.append([received_line(track)], config_id=CONFIG_ID)
    await put(rig, "s2")
    await rig.handle_all(configuration())
    assert [line["messageId"] for line in rig.stored()] == ["s1", "e1", "s2"]


class Nosy(Plugin):
    """Turns away whatever it is given."""

    seen: ClassVar[list[str]] = []

    @hookimpl
    def cdpd_filter(self, event: Event) -> Discard | None:
        self.seen.append(event.message_id)
        return Discard("nosy")


class Asking(Nosy):
    takes_objects: ClassVar[bool] = True


async def test_hooks_see_objects_only_where_they_ask_for_them(rig: Rig) -> None:
    Nosy.seen.clear()
    await put(rig, "s1")
    await rig.handle_all(chain("nosy"), {"nosy": Nosy})
    assert (Nosy.seen, len(rig.stored())) == ([], 1)
    await put(rig, "s2")
    await rig.handle_all(chain("asking"), {"asking": Asking})
    assert (Nosy.seen, rig.codes()) == (["s2"], ["nosy"])


async def test_dedup_knows_objects_and_follows_events_past_them(rig: Rig) -> None:
    await put(rig, "s1", "s1", "s2")
    await rig.handle_all(configuration())
    await put(rig, "s2", "s3")
    await rig.handle_all(configuration())
    assert [line["messageId"] for line in rig.stored()] == ["s1", "s2", "s3"]


async def test_an_object_of_a_removed_source_can_be_tried_again_as_an_object(rig: Rig) -> None:
    await put(rig, "s1", source="gone")
    await rig.handle_all(configuration())
    assert rig.codes() == ["source_removed"]
    assert await retry(rig) == {"matched": 1, "retried": 1, "skipped": 0}
    await rig.handle_all(configuration(sources={"gone": {"write_keys": ["wk2"]}}))
    assert [(line["type"], line["messageId"]) for line in rig.stored()] == [("set", "s1")]


async def test_a_line_of_a_kind_that_nobody_knows_is_told(rig: Rig) -> None:
    await rig.received.append([received_line(OBJECT, kind="other")], config_id=CONFIG_ID)
    await rig.handle_all(configuration())
    assert rig.codes() == ["undecodable"]


def test_values_are_not_changed_by_the_rules() -> None:
    text = b'{"collection":"rooms","id":"1","properties":{"n":1.10,"t":"\\u00e9"}}'
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    assert set_event_of(fields) == b'{"type":"set",' + text[1:]
