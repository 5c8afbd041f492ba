"""`com.segment.analytics.java:analytics`, unmodified but for shorter waits, against a running daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.proxy import proxy
from tests.clients.six_calls import CONFIG, Sdk, segment_java
from tests.clients.troubles import (
    TROUBLES,
    Trouble,
    assert_drops_what_is_refused,
    assert_each_once_despite,
    assert_stored_once,
)
from tests.running import running


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    return segment_java(tmp_path_factory.mktemp("classes"))


async def test_the_six_calls_arrive_once_and_unchanged(tmp_path: Path, sdk: Sdk) -> None:
    async with running(tmp_path, CONFIG) as daemon, proxy(daemon.url) as between:
        assert await sdk.six_calls(between.url) == []
        await assert_stored_once(daemon, between)
        assert {request.path for request in between.posts()} == {"/v1/import/"}


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
async def test_a_retry_brings_each_event_once(tmp_path: Path, sdk: Sdk, trouble: Trouble) -> None:
    await assert_each_once_despite(tmp_path, trouble, sdk)


async def test_what_the_daemon_refuses_is_dropped_and_the_program_goes_on(tmp_path: Path, sdk: Sdk) -> None:
    await assert_drops_what_is_refused(tmp_path, sdk)
