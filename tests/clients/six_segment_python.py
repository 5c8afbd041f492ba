"""The six calls through segment-analytics-python. argv: settings as in six_calls.py. Prints {"errors": [...]}."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from segment.analytics.client import Client


def main(settings: dict[str, Any]) -> None:
    errors: list[str] = []
    logging.getLogger("segment").addHandler(logging.NullHandler())
    oauth = settings.get("oauth") or {}
    client = Client(
        settings["writeKey"],
        host=settings["host"],
        gzip=settings["gzip"],
        max_retries=settings["retries"],
        timeout=settings["timeout"],
        on_error=lambda error, _batch: errors.append(str(error)),
        oauth_client_id=oauth.get("clientId"),
        oauth_client_key=oauth.get("clientKey"),
        oauth_key_id=oauth.get("keyId"),
        oauth_auth_server=oauth.get("authServer"),
    )
    client.identify(7, {"email": "ada@example.com", "born": datetime(1990, 1, 2, tzinfo=UTC)})
    client.track(
        "u1", "Order Completed", {"revenue": 12.5, "big": 12345678901234567890, "none": None, "ü": "ß"}
    )
    client.page("u1", "Docs", "Python", {"url": "https://example.com/docs"})
    client.screen("u1", "Settings", "Main", {"dark": True})
    client.group("u1", 7, {"name": "ACME"})
    client.alias("anonymous-1", "u1")
    client.flush()
    client.join()
    print(json.dumps({"errors": errors}))


main(json.loads(sys.argv[1]))
