"""ua-parser's rules asked in small steps, so that no text however odd holds the loop.

In Python alone one text costs 0.3 to 1 ms, a made-up one of 512 characters up to 4 ms; with the package's native
resolver (`pip install cdpd-daemon[fast]`, used where it is installed) 5 to 50 µs. Of what programs really send both
find the same; in odd texts the native one, whose rules look further, may find a crawler more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

import ua_parser
from msgspec import Struct
from ua_parser import OS, Device, Domain, Matchers, UserAgent

from cdpd.hooks.remembered import Steps

LONGEST: Final = 512
"""Characters of a user agent that are looked at; those of people's devices have up to about 400."""
_STEP: Final = 32
"""Rules tried between two places where the reader may be paused: up to 0.15 ms."""

T = TypeVar("T")


class Parsed(Struct, frozen=True):
    """What ua-parser finds in a text; None where it knows none."""

    browser: UserAgent | None = None
    os: OS | None = None
    device: Device | None = None


class Parser(Protocol):
    """Reads a user agent of at most LONGEST characters."""

    def __call__(self, text: str) -> Steps[Parsed]: ...


def load_parser(native: bool | None = None) -> Parser:
    """A parser over the rules of ua-parser-builtins; takes 0.1 to 0.3 s and 6 MB, natively 30 MB.

    `native`: None takes the native resolver where it is installed.
    """
    if native is None:
        native = ua_parser.RegexResolver is not None
    return _Native() if native else _Plain(ua_parser.load_builtins())


class _Native:
    """By ua-parser-rs: too quick to need pauses."""

    def __init__(self) -> None:
        assert ua_parser.RegexResolver is not None
        self._resolve = ua_parser.RegexResolver(ua_parser.load_lazy_builtins())

    def __call__(self, text: str) -> Steps[Parsed]:
        yield
        found = self._resolve(text, Domain.ALL)
        return Parsed(found.user_agent, found.os, found.device)


class _Plain:
    """By Python's own `re`, rule by rule."""

    def __init__(self, matchers: Matchers) -> None:
        self._browsers, self._systems, self._devices = matchers

    def __call__(self, text: str) -> Steps[Parsed]:
        browser = yield from _first(self._browsers, text)
        system = yield from _first(self._systems, text)
        device = yield from _first(self._devices, text)
        return Parsed(browser, system, device)


def _first(rules: Iterable[Callable[[str], T | None]], text: str) -> Steps[T | None]:
    """What the first rule that fits finds."""
    for number, rule in enumerate(rules):
        if not number % _STEP:
            yield
        found = rule(text)
        if found is not None:
            return found
    return None
