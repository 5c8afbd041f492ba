"""A view decodes the fields that are asked for, once, and no others."""

from __future__ import annotations

import pytest
from msgspec import Raw

from cdpd.event import Event
from cdpd.mapping import view
from cdpd.mapping.fql.filter import compile_filter
from cdpd.mapping.kit.compile import compile_mapping
from cdpd.mapping.view import View

TEXT = b'{"type":"track","properties":{"plan":"pro"},"context":{"ip":"203.0.113.9"},"messageId":"m"}'


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The texts that are decoded, in order."""
    texts: list[bytes] = []
    original = view.decode_value

    def decode(raw: Raw) -> object:
        texts.append(bytes(raw))
        return original(raw)

    monkeypatch.setattr(view, "decode_value", decode)
    return texts


def test_filters_and_mappings_share_what_they_read(decoded: list[bytes]) -> None:
    seen = View(Event(TEXT))
    condition = compile_filter("type = 'track' and properties.plan = 'pro' and groupId = null")
    mapping = compile_mapping({"plan": {"@path": "$.properties.plan"}})
    assert condition.test(seen.of(condition.paths))
    assert mapping.resolve(seen.of(mapping.paths)) == {"plan": "pro"}
    assert sorted(decoded) == [b'"track"', b'{"plan":"pro"}']


def test_the_whole_event_keeps_its_order(decoded: list[bytes]) -> None:
    seen = View(Event(TEXT))
    assert seen.of({"messageId", "context"})["messageId"] == "m"
    assert list(seen.of(None)) == ["type", "properties", "context", "messageId"]
    assert seen.of(None) is seen.of(None)
    assert len(decoded) == 4
