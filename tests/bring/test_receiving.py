"""The daemon's side: batches become lines of `received`, or are put off, or refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from cdpd import discovery
from cdpd.bring.batch import Item, Known, decode_batch, encode_batch
from cdpd.bring.receiving import MOST_BEHIND, Receiving
from cdpd.config.model import Config, SourceConfig
from cdpd.control.contract import Busy, CannotDo
from cdpd.ingest.settings import IngestSettings
from cdpd.log.errors import AppendFailed
from cdpd.metrics import RECEIVED, Metrics
from tests.clock import FakeClock

NOW_MS = 1_709_290_000_000
NOW = "2024-03-01T10:46:40.000Z"


class Rig:
    def __init__(self) -> None:
        self.config = Config(
            sources={"website": SourceConfig(write_keys=["wk_receiving_website"])},
            destinations={"copy": {"type": "file", "path": "x"}, "webhook": {"url": "http://127.0.0.1"}},
        )
        self.lines: list[dict[str, Any]] = []
        self.behind = 0
        self.full = False
        self.metrics = Metrics()
        self.receiving = Receiving(
            append=self._append,
            config=lambda: self.config,
            settings=lambda: IngestSettings.of(self.config, 7),
            behind=lambda: self.behind,
            catalogue=discovery,
            clock=FakeClock(NOW_MS),
            metrics=self.metrics,
        )

    async def _append(self, lines: Sequence[bytes], config_id: int) -> None:
        assert config_id == 7
        if self.full:
            raise AppendFailed("no space left on device")
        self.lines += [json.loads(line) for line in lines]

    async def take(self, *items: Item, source: str = "website") -> dict[str, Any]:
        return await self.receiving.take(encode_batch(source, items))


async def test_an_event_is_received_when_its_archive_says() -> None:
    rig = Rig()
    known = Known("2023-01-01T00:00:00.5+01:00", "192.0.2.7")
    text = b'{"type":"track","messageId":"m1","writeKey":"wk","properties":{"a":1.10}}'
    assert await rig.take(Item(text, known)) == {"stored": 1, "rejected": 0}
    assert rig.lines == [
        {
            "receivedAt": "2022-12-31T23:00:00.500Z",
            "source": "website",
            "messageId": "m1",
            "via": {"path": "import", "ip": "192.0.2.7"},
            "event": {"type": "track", "messageId": "m1", "properties": {"a": 1.1}},
        }
    ]
    assert rig.metrics.get(RECEIVED, "website") == 1


@pytest.mark.parametrize("at", [None, "yesterday", "2099-01-01T00:00:00.000Z"])
async def test_a_receipt_that_is_missing_none_or_still_to_come_is_now(at: str | None) -> None:
    rig = Rig()
    await rig.take(Item(b'{"messageId":"m"}', Known(at)))
    assert rig.lines[0]["receivedAt"] == NOW


async def test_what_the_hooks_cannot_be_given_is_stored_as_ingest_stores_it() -> None:
    rig = Rig()
    deep = b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"
    large = b'{"messageId":"m","a":"' + b"x" * 9_000_000 + b'"}'
    items = [Item(b"[1]"), Item(deep), Item(large), Item(b'{"messageId":"good"}')]
    assert await rig.take(*items) == {"stored": 4, "rejected": 3}
    assert [line.get("reject") for line in rig.lines] == [
        "event_not_object",
        "too_deep",
        "event_too_large",
        None,
    ]
    assert len(rig.lines[2]["raw"]) == 1024


async def test_a_source_that_is_not_configured_is_refused_with_a_hint() -> None:
    with pytest.raises(CannotDo, match=r"no source 'websit'.*did you mean \"website\""):
        await Rig().take(Item(b"{}"), source="websit")


async def test_an_import_waits_while_the_hooks_are_far_behind_or_the_disk_is_full() -> None:
    rig = Rig()
    rig.behind = MOST_BEHIND + 1
    with pytest.raises(Busy, match="20,001 events behind"):
        await rig.take(Item(b"{}"))
    rig.behind, rig.full = 0, True
    with pytest.raises(Busy, match="no space left"):
        await rig.take(Item(b"{}"))
    assert not rig.lines
    assert rig.metrics.total(RECEIVED) == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"source":"website"}\n{}', b'{"source":"website"}\n{"x":1}\n{}', b'{"source":"website"}\n{}\n{"',
     b'{"source":"website"}\n{}\n"\xff"'],
)  # fmt: skip
async def test_a_body_of_another_form_is_refused_whole(body: bytes) -> None:
    rig = Rig()
    with pytest.raises(msgspec.DecodeError):
        await rig.receiving.take(body)
    assert not rig.lines


def test_an_empty_batch_is_one() -> None:
    assert decode_batch(encode_batch("website", [])) == ("website", [])


async def test_it_tells_what_an_import_has_to_know() -> None:
    rig = Rig()
    told = await rig.receiving.describe(b"")
    assert told["sources"] == ["website"]
    assert told["destinations"] == {"copy": "File", "webhook": "Webhook"}
    assert told["limits"]["max_depth"] == 64
