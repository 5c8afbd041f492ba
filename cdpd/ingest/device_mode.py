"""Device mode's share: what browsers are told of destinations that they serve themselves (connections.md §5)."""

from __future__ import annotations

from typing import Any

from cdpd.config.model import Config
from cdpd.config.plugin_options import Catalogue


def client_settings(config: Config, catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Source → display name → settings, of enabled destinations with a `client` table.

    Loads the classes of just these. For a valid configuration.
    """
    found: dict[str, dict[str, Any]] = {}
    installed = catalogue.destinations()
    for name, options in config.destinations.items():
        client = options.get("client")
        if client is None or options.get("enabled") is False:
            continue
        display = installed[str(options.get("type", name))].load().name
        for source in options.get("sources") or config.sources:
            found.setdefault(source, {})[display] = client
    return found
