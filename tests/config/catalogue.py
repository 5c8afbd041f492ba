"""Installed plugins as the loader sees them, made up for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from cdpd.destinations.contract import Destination, DestinationConfig
from cdpd.plugins import Plugin


class FakeFound:
    def __init__(self, plugin: Any, distribution: str = "cdpd-daemon") -> None:
        self.plugin = plugin
        self.distribution = distribution

    def load(self) -> Any:
        if isinstance(self.plugin, Exception):
            raise self.plugin
        return self.plugin


class Dedup(Plugin):
    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        window: str = "24h"
        mode: Literal["strict", "lenient"] = "strict"

        def __post_init__(self) -> None:
            if self.window == "never":
                raise ValueError("window: 'never' is no duration")


class File(Destination):
    name = "File"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        path: Path


class FakeCatalogue:
    def hooks(self) -> Mapping[str, FakeFound]:
        return {
            "spec": FakeFound(Plugin),
            "dedup": FakeFound(Dedup),
            "ip": FakeFound(Plugin),
            "broken": FakeFound(ImportError("No module named 'maxminddb'"), "cdpd-broken"),
        }

    def destinations(self) -> Mapping[str, FakeFound]:
        return {"file": FakeFound(File), "console": FakeFound(Destination)}
