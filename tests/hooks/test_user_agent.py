"""The `user_agent` hook: what it fills in, and what it leaves as it was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd.config.decode import decode
from cdpd.config.shape import check_shape
from cdpd.hooks.agents.parser import LONGEST, Parser
from cdpd.hooks.user_agent import UserAgent
from tests.hooks import agents
from tests.hooks.anything import changed, events, received
from tests.hooks.applying import Running, decoded, running
from tests.pipeline.rig import received_line

IPHONE = {
    "device": {"type": "mobile", "manufacturer": "Apple", "model": "iPhone"},
    "os": {"name": "iOS", "version": "17.1"},
    "browser": {"name": "Mobile Safari", "version": "17.1"},
}


@pytest.fixture
async def hook(loaded: None) -> AsyncIterator[Running]:
    async with running(UserAgent) as hook:
        yield hook


async def test_device_os_and_browser_are_filled_in(hook: Running) -> None:
    assert await hook.context({"userAgent": agents.IPHONE, "a": 1}) == {
        "userAgent": agents.IPHONE,
        "a": 1,
        **IPHONE,
    }


async def test_client_hints_count_where_the_user_agent_is_frozen(hook: Running) -> None:
    hints = {"platform": "Windows", "platformVersion": "15.0.0", "mobile": False, "brands": []}
    found = await hook.context({"userAgent": agents.CHROME_WINDOWS, "userAgentData": hints})
    assert found["os"] == {"name": "Windows", "version": "11"}
    assert found["device"] == {"type": "desktop"}


@pytest.mark.parametrize("nothing", [None, "", {}])
async def test_what_is_null_or_empty_is_missing(hook: Running, nothing: Any) -> None:
    context = {"userAgent": agents.IPHONE, "os": nothing, "device": nothing, "browser": nothing}
    found = await hook.context(context)
    assert {key: found[key] for key in IPHONE} == IPHONE


async def test_rudders_empty_texts_are_filled_in(hook: Running) -> None:
    found = await hook.context({"os": {"name": "", "version": ""}, "userAgent": agents.IPHONE})
    assert found["os"] == IPHONE["os"]


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"os": {"name": "ios"}}, {"os": {"name": "ios", "version": "17.1"}}),
        ({"os": {"name": "iPadOS"}}, {"os": {"name": "iPadOS"}}),
        ({"os": {"version": "17.1.2"}}, {"os": {"version": "17.1.2"}}),
        ({"os": {"name": "", "version": "18"}}, {"os": {"name": "", "version": "18"}}),
        ({"os": "iOS"}, {"os": "iOS"}),
        ({"os": [1]}, {"os": [1]}),
        ({"browser": {"name": 7}}, {"browser": {"name": 7}}),
        (
            {"device": {"type": "ios", "id": "D", "model": "iPhone14,2"}},
            {"device": {"type": "ios", "id": "D", "model": "iPhone14,2"}},
        ),
        (
            {"device": {"id": "D", "manufacturer": "Apple"}},
            {"device": {"id": "D", "manufacturer": "Apple", "type": "mobile", "model": "iPhone"}},
        ),
        (
            {"device": {"adTrackingEnabled": True}},
            {"device": {"adTrackingEnabled": True, **IPHONE["device"]}},
        ),
    ],
)
async def test_what_was_sent_stays_and_only_what_goes_with_it_is_added(
    hook: Running, sent: dict[str, Any], found: dict[str, Any]
) -> None:
    context = await hook.context({"userAgent": agents.IPHONE, **sent})
    assert {key: context[key] for key in found} == found


@pytest.mark.parametrize("agent", [None, "", 7, {}, ["x"], "nothing that is known"])
async def test_without_a_user_agent_that_tells_something_nothing_changes(hook: Running, agent: Any) -> None:
    context = {"userAgent": agent, "os": {"name": ""}}
    assert await hook.context(context) == context


@pytest.mark.parametrize("event", [b"{}", b'{"context":null}', b'{"context":[1]}', b'{"context":{}}'])
async def test_without_a_context_nothing_changes(hook: Running, event: bytes) -> None:
    found = decoded(received_line(event))
    before = found.line()
    await hook(found)
    assert found.line() == before


@pytest.mark.parametrize("os", [b"", b'"os":{"n" : 1.10,"name":""},'])
async def test_the_rest_keeps_its_text(hook: Running, os: bytes) -> None:
    context = b'{"a" : 1.10, %b"b":{ }, "userAgent":"Wget/1.21" }' % os
    event = decoded(received_line(b'{"big":12345678901234567890,"context":%b,"z": 1.0}' % context))
    await hook(event)
    line = event.line()
    assert b'"big":12345678901234567890,' in line
    assert b'"z":1.0' in line or b'"z": 1.0' in line
    assert b"1.10" in line
    assert b'"browser":{"name":"Wget","version":"1.21"}' in line
    if not os:
        assert b'{"a" : 1.10, "b":{ }, "userAgent":"Wget/1.21" ,"browser"' in line


async def test_only_the_fields_that_are_wanted_are_filled_in(loaded: None) -> None:
    async with running(UserAgent, {"fields": ["os"]}) as hook:
        found = await hook.context({"userAgent": agents.IPHONE, "device": {"id": "D"}})
    assert found == {"userAgent": agents.IPHONE, "device": {"id": "D"}, "os": IPHONE["os"]}


async def test_an_endless_user_agent_is_read_as_far_as_the_first_512_characters(
    parsers: dict[str, Parser], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def parser(text: str) -> Any:
        read.append(len(text))
        return parsers["native"](text)

    monkeypatch.setattr("cdpd.hooks.user_agent.load_parser", lambda: parser)
    async with running(UserAgent) as hook:
        for tail in ("é", '"', "x"):
            found = await hook.context({"userAgent": agents.FIREFOX + tail * 100_000})
            assert found["browser"]["name"] == "Firefox"
    assert read == [LONGEST] * 3


async def test_new_user_agents_are_read_in_steps_before_the_events_get_their_turn(
    parsers: dict[str, Parser], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    in_prepare = False

    def parser(text: str) -> Any:
        assert in_prepare
        read.append(text)
        return parsers["native"](text)

    monkeypatch.setattr("cdpd.hooks.user_agent.load_parser", lambda: parser)
    async with running(UserAgent) as hook:
        slice_ = [
            received({"type": "track", "context": {"userAgent": f"App{n % 50}/1.0 CFNetwork/1410.0.3 Darwin/22.6.0"}})
            for n in range(200)
        ]  # fmt: skip
        in_prepare = True
        result = hook.hook.prepare(slice_, None)  # type: ignore[misc,arg-type]  # it has one, and uses no source
        assert result is not None
        await result
        in_prepare = False
        for event in slice_:
            hook.hook.enrich(event, None)  # type: ignore[misc,arg-type]  # as above
    assert len(read) == len(set(read)) == 50
    assert slice_[199].context["browser"]["name"] == "App49"


async def test_a_slice_of_known_user_agents_is_not_waited_for(hook: Running) -> None:
    await hook.context({"userAgent": agents.IPHONE})
    event = received({"type": "track", "context": {"userAgent": agents.IPHONE}})
    assert hook.hook.prepare([event], None) is None  # type: ignore[misc,arg-type]  # as above


AGENTS = st.sampled_from([agents.IPHONE, agents.CHROME_WINDOWS, agents.CHROME_ANDROID, agents.GOOGLEBOT])
PART = st.fixed_dictionaries({}, optional={"name": st.sampled_from(["", "iOS"]), "model": st.just("K")})


@given(
    event=events(
        {
            "userAgent": AGENTS,
            "userAgentData": st.just({"mobile": True, "platform": "Android"}),
            "os": PART,
            "device": PART,
            "browser": PART,
        }
    )
)
def test_any_event_comes_through_with_nothing_but_the_named_fields_added(
    parsers: dict[str, Parser], event: dict[str, Any]
) -> None:
    async def through() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cdpd.hooks.user_agent.load_parser", lambda: parsers["native"])
            async with running(UserAgent) as hook:
                found = received(event)
                await hook(found)
        names = {
            "device": ("type", "manufacturer", "model"),
            "os": ("name", "version"),
            "browser": ("name", "version"),
        }
        paths = [f"context.{section}.{name}" for section, known in names.items() for name in known]
        assert changed(event, found, *paths, *(f"context.{section}" for section in names)) == []

    anyio.run(through)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"field": ["os"]}, 'unknown key did you mean "fields"?'),
        ({"fields": []}, "the list is empty"),
        ({"fields": ["oss"]}, 'did you mean "os"?'),
        ({"cache": 1}, "1000"),
    ],
)
def test_options_that_cannot_be_meant_are_faults_of_the_configuration(
    options: dict[str, Any], message: str
) -> None:
    [fault] = check_shape(options, UserAgent.Config, decode)
    assert message in f"{fault.message} {fault.suggestion}"
