"""The `drop` hook: what its rules describe is discarded, and rules that cannot be meant are refused."""

from __future__ import annotations

from typing import Any

import pytest

from cdpd.config.decode import decode
from cdpd.config.shape import check_shape
from cdpd.hooks.drop import Drop
from cdpd.hookspecs import Discard
from cdpd.plugins import Source
from tests.hooks.applying import apply, decoded
from tests.pipeline.rig import received_line


def dropped(
    event: dict[str, Any], *rules: dict[str, Any], source: str = "website", **options: Any
) -> Discard | None:
    found = decoded(received_line(event, source=source))
    return apply(Drop, found, {"rules": list(rules), **options}, Source(source))


TRACK = {"type": "track", "event": "Debug Ping"}
PAGE = {"type": "page", "name": "Home"}


@pytest.mark.parametrize(
    ("event", "rule", "is_dropped"),
    [
        (TRACK, {"event": "Debug Ping"}, True),
        (TRACK, {"event": "Debug *"}, True),
        (TRACK, {"event": "debug *"}, False),
        (TRACK, {"event": "Ping"}, False),
        (TRACK, {"event": ["Other", "*Ping"]}, True),
        (TRACK, {"event": []}, False),
        (TRACK, {"type": "track"}, True),
        (TRACK, {"type": ["page", "screen"]}, False),
        (TRACK, {"source": "web*"}, True),
        (TRACK, {"source": "app"}, False),
        (TRACK, {"source": "website", "type": "track", "event": "Debug*"}, True),
        (TRACK, {"source": "website", "type": "page", "event": "Debug*"}, False),
        (TRACK, {"name": "*"}, False),
        (PAGE, {"name": "Home"}, True),
        (PAGE, {"event": "*"}, False),
        ({"type": "page"}, {"name": "*"}, True),
        ({"type": "page"}, {"name": "?*"}, False),
        ({"type": "track", "event": "a\nb"}, {"event": "a*b"}, True),
    ],
)
def test_a_rule_describes_an_event_by_all_its_conditions(
    event: dict[str, Any], rule: dict[str, Any], is_dropped: bool
) -> None:
    assert (dropped(event, rule) is not None) == is_dropped


def test_the_first_rule_that_fits_is_told() -> None:
    found = dropped(TRACK, {"type": "page"}, {"event": "Debug*", "source": "website"})
    assert found == Discard(
        "dropped", "rule 2 of the drop hook: source = 'website', event = 'Debug*'", record=True
    )


def test_nothing_need_be_kept_of_what_is_dropped() -> None:
    found = dropped(TRACK, {"type": "track"}, record=False)
    assert found is not None
    assert not found.record


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": [{}]}, "a rule needs a condition"),
        ({"rules": [{"type": "trak"}]}, 'did you mean "track"?'),
        ({"rules": [{"events": "x"}]}, "unknown key"),
        ({"rules": {"type": "track"}}, "expected"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_a_fault_of_the_configuration(
    options: dict[str, Any], message: str
) -> None:
    [fault] = check_shape(options, Drop.Config, decode)
    assert message in f"{fault.message} {fault.suggestion}"
