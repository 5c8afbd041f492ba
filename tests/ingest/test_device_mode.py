"""What browsers are told of destinations that they serve themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cdpd.config.model import Config
from cdpd.destinations.null import Null
from cdpd.destinations.webhook import Webhook
from cdpd.ingest.device_mode import client_settings
from cdpd.ingest.settings import IngestSettings
from cdpd.ingest.settings_document import settings_document
from tests.delivery.rig import Found

SOURCES = {"web": {"write_keys": ["wk_web"]}, "app": {"write_keys": ["wk_app"]}}


class Catalogue:
    def hooks(self) -> Mapping[str, Found]:
        return {}

    def destinations(self) -> Mapping[str, Found]:
        return {"webhook": Found(Webhook), "null": Found(Null)}


def integrations(destinations: dict[str, Any], key: str) -> dict[str, Any]:
    config = msgspec.convert({"sources": SOURCES, "destinations": destinations}, Config)
    clients = client_settings(config, Catalogue())  # type: ignore[arg-type]
    document = settings_document(IngestSettings.of(config, 1, None, clients), key)
    found: dict[str, Any] = msgspec.json.decode(document)["integrations"]
    return found


def test_only_what_is_meant_for_browsers_is_told_and_only_to_the_sources_of_a_destination() -> None:
    hook = {
        "type": "webhook",
        "url": "https://x",
        "shared_secret": "s",
        "sources": ["web"],
        "client": {"siteId": 7},
    }
    destinations = {"hook": hook, "null": {}, "off": {"type": "null", "enabled": False, "client": {"a": 1}}}
    told = integrations(destinations, "wk_web")
    assert {name: value for name, value in told.items() if name != "Segment.io"} == {"Webhook": {"siteId": 7}}
    assert list(integrations(destinations, "wk_app")) == ["Segment.io"]


def test_a_destination_of_all_sources_is_told_to_all() -> None:
    for key in ("wk_web", "wk_app"):
        assert "Null" in integrations({"null": {"client": {}}}, key)
