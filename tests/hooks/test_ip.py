"""The `ip` hook: whose address is filled in, and what becomes of it. Source: wire.md §10."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hooks.applying import normalised

TRACK = {"type": "track", "event": "A", "userId": "u"}


def ip(event: dict[str, Any], **how: Any) -> Any:
    """`context.ip` of what becomes of the event; None where there is none."""
    context = normalised(event, **how).event.get("context") or {}
    assert "direct" not in context
    return context.get("ip")


@pytest.mark.parametrize("kind", ["javascript", "iOS", "android", "mobile", "react-native", "Website"])
def test_a_source_of_devices_shows_their_address_whatever_the_request(kind: str) -> None:
    assert ip(TRACK, type_of_source=kind, path="/v1/batch", ip="203.0.113.7") == "203.0.113.7"


@pytest.mark.parametrize("kind", ["server", "python", "node", "anything"])
def test_any_other_source_does_not_whatever_the_request(kind: str) -> None:
    how = {"path": "/v1/t", "via": {"origin": "https://x"}}
    event = {**TRACK, "context": {"library": {"name": "analytics.js"}}}
    assert ip(event, type_of_source=kind, **how) is None


@pytest.mark.parametrize("path", ["/v1/t", "/v1/b", "/v1/p", "/v1/pixel/track", "/beacon/v1/batch"])
def test_without_a_type_a_short_path_a_pixel_or_a_beacon_shows_a_device(path: str) -> None:
    event = {**TRACK, "name": "N"}
    assert ip(event, path=path, ip="203.0.113.7") == "203.0.113.7"


def test_without_a_type_an_origin_shows_a_device() -> None:
    assert ip(TRACK, via={"origin": "https://shop.example"}, ip="203.0.113.7") == "203.0.113.7"
    assert ip(TRACK, ip="203.0.113.7") is None


@pytest.mark.parametrize(
    ("library", "filled"),
    [
        ({"name": "analytics.js", "version": "1"}, True),
        ({"name": "analytics-kotlin"}, True),
        ({"name": "RudderLabs JavaScript SDK"}, True),
        ({"version": "1", "name": "analytics\u002djs".replace("-js", ".js")}, True),
        ({"name": "@segment/analytics-node"}, False),
        ({"name": "analytics-python"}, False),
        ({"name": 7}, False),
        ({}, False),
        ([], False),
        ("analytics-ios", True),  # a text becomes {"name": …} before
    ],
)
def test_without_a_type_a_client_librarys_name_shows_a_device(library: Any, filled: bool) -> None:
    found = ip({**TRACK, "context": {"library": library}}, ip="203.0.113.7")
    assert found == ("203.0.113.7" if filled else None)


@pytest.mark.parametrize(
    ("direct", "found"), [(True, "203.0.113.7"), (False, None), ("true", None), (1, None), (None, None)]
)
def test_a_server_may_ask_for_it_and_the_asking_goes_no_further(direct: Any, found: str | None) -> None:
    event = {**TRACK, "context": {"direct": direct, "locale": "de"}}
    assert ip(event, type_of_source="server", ip="203.0.113.7") == found
    assert normalised(event).event["context"]["locale"] == "de"


@pytest.mark.parametrize("sent", ["0.0.0.0", "198.51.100.4", "not an address", 7, False, {}])
def test_what_was_sent_is_never_overwritten(sent: Any) -> None:
    event = {**TRACK, "context": {"ip": sent, "direct": True}}
    assert ip(event, type_of_source="javascript") == sent


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_and_empty_count_as_absent(nothing: Any) -> None:
    event = {**TRACK, "context": {"ip": nothing, "z": 1}}
    found = normalised(event, type_of_source="javascript", ip="2001:db8::1").event["context"]
    assert list(found.items()) == [("ip", "2001:db8::1"), ("z", 1)]


@pytest.mark.parametrize("context", ["absent", None, {}, {"a": 1.10}])
def test_it_goes_into_whatever_context_there_is(context: Any) -> None:
    event = TRACK if context == "absent" else {**TRACK, "context": context}
    found = normalised(event, type_of_source="javascript", ip="203.0.113.7").event["context"]
    assert found == {**(context if isinstance(context, dict) else {}), "ip": "203.0.113.7"}


def test_the_rest_of_the_context_keeps_its_text() -> None:
    line = b'{"type":"track","event":"A","userId":"u","context":{"n" : 1.10, "n":2,"e":{}  }}'
    assert (
        b'"context":{"n" : 1.10, "n":2,"e":{}  ,"ip":"203.0.113.7"}'
        in normalised(line, type_of_source="javascript", ip="203.0.113.7").text
    )


def test_a_request_without_an_address_fills_nothing_in() -> None:
    assert "context" not in normalised(TRACK, type_of_source="javascript", ip="").event


def test_disabled_it_only_takes_the_asking_away() -> None:
    event = {**TRACK, "context": {"direct": True}}
    assert ip(event, type_of_source="javascript", ip_options={"enabled": False}) is None


@pytest.mark.parametrize(
    ("address", "shortened"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("0.0.0.0", "0.0.0.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
    ],
)
def test_anonymized_every_address_loses_its_end(address: str, shortened: str) -> None:
    options = {"anonymize": True}
    assert ip(TRACK, type_of_source="javascript", ip=address, ip_options=options) == shortened
    sent = {**TRACK, "context": {"ip": address}}
    assert ip(sent, type_of_source="server", ip_options=options) == shortened


def test_anonymized_what_is_no_address_stays_if_sent_and_is_not_filled_in() -> None:
    options = {"anonymize": True}
    assert ip({**TRACK, "context": {"ip": "?"}}, ip_options=options) == "?"
    assert ip(TRACK, type_of_source="javascript", ip="unknown", ip_options=options) is None
