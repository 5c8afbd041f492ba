"""Parsers of user agents, made once: that takes a moment."""

from __future__ import annotations

import pytest

from cdpd.hooks import bots, user_agent
from cdpd.hooks.agents.parser import Parser, load_parser


@pytest.fixture(scope="session")
def parsers() -> dict[str, Parser]:
    return {"python": load_parser(native=False), "native": load_parser(native=True)}


@pytest.fixture(params=["python", "native"])
def parser(request: pytest.FixtureRequest, parsers: dict[str, Parser]) -> Parser:
    """Either of them: both must find the same."""
    return parsers[request.param]


@pytest.fixture
def loaded(parsers: dict[str, Parser], monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks that start use a parser that is there."""
    for module in (user_agent, bots):
        monkeypatch.setattr(module, "load_parser", lambda: parsers["native"])
