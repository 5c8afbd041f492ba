"""`cdpd destination`: cases from a file, one event through a destination, step by step, and tests of connections."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdpd.testing import Reply, Vendor, running_vendor
from tests.cli.conftest import Cdpd

EVENT = {
    "type": "track",
    "event": "Signed Up",
    "userId": "u1",
    "messageId": "m1",
    "properties": {"plan": "pro", "ip": "1"},
}
CONFIG = """
[sources.web]
write_keys = ["wk_web"]

[destinations.hook]
type = "webhook"
shared_secret = "sh4red-secret"
sources = ["web"]

[[destinations.hook.filters]]
if = 'event = "Test"'
title = "no tests"
actions = [{ type = "drop" }]

[[destinations.hook.filters]]
if = "all"
actions = [{ type = "drop_properties", fields = { properties = ["ip"] } }]

[[destinations.hook.actions]]
action = "send"
when = 'type = "track"'
mapping = { url = "@url@/in", data = { "@path" = "$.properties" }, headers = { Own = "x sh4red-secret" } }
"""


@contextmanager
def vendor() -> Iterator[Vendor]:
    """A vendor in a loop of its own: the command has one too."""
    started, over = threading.Event(), asyncio.Event()
    found: list[Any] = []

    async def serve() -> None:
        async with running_vendor() as it:
            found.extend((it, asyncio.get_running_loop()))
            started.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(30)
    try:
        yield found[0]
    finally:
        found[1].call_soon_threadsafe(over.set)
        thread.join()


def write(event: object = EVENT, url: str = "http://127.0.0.1:9") -> None:
    Path("cdpd.toml").write_text(CONFIG.replace("@url@", url))
    Path("cdpd.toml").chmod(0o600)
    Path("event.json").write_text(json.dumps(event, indent=2))


def test_the_tester_shows_filters_mappings_and_the_request_and_no_secret(cdpd: Cdpd) -> None:
    write({**EVENT, "projectId": "web"})
    ran = cdpd("destination", "test", "hook", "--event", "event.json", "--json")
    assert ran.code == 0
    told = ran.json
    assert told["event"]["properties"] == {"plan": "pro"}
    assert [(each["action"], each["matches"]) for each in told["mappings"]] == [("send", True)]
    assert told["mappings"][0]["payload"]["data"] == {"plan": "pro"}
    (exchange,) = told["requests"]
    assert exchange["request"]["json"] == {"plan": "pro"}
    assert exchange["request"]["url"] == "http://127.0.0.1:9/in"
    assert "sh4red-secret" not in ran.out
    ran = cdpd("destination", "test", "hook", "--event", "event.json")
    assert "the filters leave:" in ran.out
    assert 'matches  Send (send): type = "track"' in ran.out
    assert "POST http://127.0.0.1:9/in" in ran.out
    assert "sh4red-secret" not in ran.out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"projectId": "web", "event": "Test"}, "FILTERED_BY_RULES, filter no tests"),
        ({"projectId": "app"}, "SOURCE_NOT_CONNECTED"),
        ({"projectId": "web", "integrations": {"All": False}}, "FILTERED_BY_INTEGRATIONS_OBJECT"),
        ({"projectId": "web", "type": "page"}, "You may not have any subscriptions that match this event"),
    ],
)
def test_what_keeps_an_event_back_is_told(cdpd: Cdpd, change: dict[str, Any], said: str) -> None:
    write({**EVENT, **change})
    ran = cdpd("destination", "test", "hook", "--event", "event.json")
    assert ran.code == 0
    assert said in ran.out


def test_a_live_test_sends_once_and_shows_the_answer(cdpd: Cdpd) -> None:
    with vendor() as it:
        write({**EVENT, "projectId": "web"}, it.url)
        ran = cdpd("destination", "test", "hook", "--event", "event.json", "--live")
        assert ran.code == 0
        assert "answered 200" in ran.out
        assert "outcome: delivered" in ran.out
        it.replies(400)
        ran = cdpd("destination", "test", "hook", "--event", "event.json", "--live", "--json")
        assert ran.code == 1
        assert (ran.json["outcome"], ran.json["requests"][0]["status"]) == ("bad_event", 400)
    assert [request.json for request in it.requests] == [{"plan": "pro"}] * 2


def test_bad_input_is_told(cdpd: Cdpd) -> None:
    write()
    for arguments, code, said in (
        (("hok", "--event", "event.json"), 2, 'did you mean "hook"?'),
        (("hook", "--event", "none.json"), 2, "none.json: No such file"),
        (("hook", "--event", "cdpd.toml"), 2, "cdpd.toml:2: starts like a JSON array"),
    ):
        ran = cdpd("destination", "test", *arguments)
        assert (ran.code, ran.out) == (code, "")
        assert said in ran.err
    Path("empty").write_text("")
    assert "has no event" in cdpd("destination", "test", "hook", "--event", "empty").err


CASE = {
    "destination": "webhook",
    "title": "one",
    "action": "send",
    "settings": {"sharedSecret": "s3cr3t"},
    "mapping": {"url": "https://hooks.example.com/in", "data": {"@path": "$.properties"}},
    "event": EVENT,
    "expected_requests": [
        {
            "method": "POST",
            "url": "https://hooks.example.com/in",
            "headers": {},
            "json": {"plan": "pro", "ip": "1"},
        }
    ],
}
RESPONSE = {
    "destination": "webhook",
    "action": "send",
    "events": 2,
    "reply": {"status": 403},
    "expected": ["bad_credentials"] * 2,
}


def test_cases_tell_requests_and_outcomes_and_exit_1_where_one_fails(cdpd: Cdpd) -> None:
    other = {
        **CASE,
        "title": "other",
        "expected_requests": [{**CASE["expected_requests"][0], "json": {"plan": 7}}],
    }  # type: ignore[index]
    file = Path("cases.json")
    file.write_text(json.dumps({"format": 1, "cases": [CASE], "response_cases": [RESPONSE]}))
    ran = cdpd("destination", "cases", file, "--json")
    assert ran.code == 0
    (case,), (response,) = ran.json["cases"], ran.json["response_cases"]
    assert (case["destination"], case["title"], case["passed"]) == ("webhook", "one", True)
    assert case["requests"][0]["json"] == {"plan": "pro", "ip": "1"}
    assert (response["passed"], response["outcomes"]) == (True, ["bad_credentials"] * 2)
    file.write_text(json.dumps({"format": 1, "cases": [CASE, other, {**CASE, "destination": "fax"}]}))
    ran = cdpd("destination", "cases", file)
    assert ran.code == 1
    assert "passed  webhook  one" in ran.out
    assert "FAILED  webhook  other" in ran.out
    assert "json.plan: expected 7, found 'pro'" in ran.out
    assert "json.ip is too much: '1'" in ran.out
    assert "no destination 'fax' is installed" in ran.out
    assert "3 cases, 2 failed" in ran.out
    assert cdpd("destination", "cases", file, "--destination", "fax").out.endswith("1 case, 1 failed\n")


def test_a_file_that_holds_no_cases_is_told(cdpd: Cdpd) -> None:
    for content, said in (("{", "truncated"), ('{"cases":{}}', "Expected `array`"), ("{}", "no such case")):
        Path("cases.json").write_text(content)
        ran = cdpd("destination", "cases", "cases.json")
        assert ran.code == 2
        assert said in ran.err


PLACES = """
[sources.web]
write_keys = ["wk_web"]

[destinations.mixpanel]
project_token = "mp-t0ken"
base_url = "@url@"

[destinations.crm]
type = "customerio"
site_id = "s1te-id"
api_key = "cio-k3y"
base_url = "@url@"
enabled = false

[destinations.hook]
type = "webhook"
url = "@url@/in"

[destinations.null]
"""


def test_connections_are_tested_without_a_daemon_and_without_an_event(cdpd: Cdpd) -> None:
    with vendor() as it:
        Path("cdpd.toml").write_text(PLACES.replace("@url@", it.url))
        Path("cdpd.toml").chmod(0o600)
        ran = cdpd("destination", "check")
        assert ran.code == 0, ran.out
        assert [line.split()[:2] for line in ran.lines[:4]] == [
            ["ok", "mixpanel"], ["ok", "crm"], ["ok", "hook"], ["ok", "null"],
        ]  # fmt: skip
        assert "(it is not enabled)" in ran.lines[1]
        assert sorted((request.method, request.path) for request in it.requests) == [
            ("GET", "/auth"), ("POST", "/api/app/validate-project-credentials/"),
        ]  # fmt: skip
    assert not Path("cdpd-data").exists()


def test_a_connection_that_fails_is_told_with_the_vendors_answer_and_exit_1(cdpd: Cdpd) -> None:
    with vendor() as it:
        Path("cdpd.toml").write_text(PLACES.replace("@url@", it.url))
        Path("cdpd.toml").chmod(0o600)
        it.replies(Reply(401, {}, b'{"error": "no project has mp-t0ken"}'))
        ran = cdpd("destination", "check", "mixpanel")
        assert ran.code == 1
        assert "FAILED   mixpanel  it answered 401 Unauthorized" in ran.out
        assert "check the credentials" in ran.out
        assert 'answered 401: {"error": "no project has •••"}' in ran.out
        assert "mp-t0ken" not in ran.out
        assert "1 destination, 1 failed" in ran.out
        it.replies(Reply(401))
        ran = cdpd("destination", "check", "mixpanel", "--json")
        assert ran.code == 1
        (told,) = ran.json["destinations"]
        assert (told["name"], told["state"], told["status"]) == ("mixpanel", "failed", 401)
        assert "mp-t0ken" not in ran.out


def test_only_destinations_of_the_configuration_can_be_tested(cdpd: Cdpd) -> None:
    Path("cdpd.toml").write_text(PLACES.replace("@url@", "http://127.0.0.1:9"))
    Path("cdpd.toml").chmod(0o600)
    ran = cdpd("destination", "check", "mixpanl")
    assert ran.code == 2
    assert 'did you mean "mixpanel"?' in ran.err
