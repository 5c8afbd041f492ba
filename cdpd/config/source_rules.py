"""What the types cannot say of sources and of the apps that may write to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from cdpd.config.duration import parse_duration
from cdpd.config.locate import Path
from cdpd.config.problem import did_you_mean
from cdpd.config.rate import parse_rate
from cdpd.config.rules import table
from cdpd.config.shape import Fault

SCOPES: Final = ("tracking_api:write", "functions:write", "public_api:read_write")
"""What an app's tokens can be asked for (connections.md §12)."""
SHORTEST: Final = 60.0
LONGEST: Final = 30 * 86400.0
"""Seconds that a token may be good for."""
_LABEL: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}", re.ASCII)
_ORIGIN: Final = re.compile(
    r"(?:https?|[a-z][a-z0-9+.-]*)://(?:\*\.)?(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::\d{1,5})?"
)


def broken_source_rules(data: dict[str, Any]) -> Iterator[Fault]:
    """Every rule that [sources] breaks, but for those on write keys."""
    for name in table(data, "sources"):
        source = table(data, "sources", name)
        path: Path = ("sources", name)
        for key in ("rate_limit", "rate_limit_by_address"):
            if isinstance(source.get(key), str):
                yield from _raised((*path, key), parse_rate, source[key])
        for i, origin in enumerate(_list(source, "allowed_origins")):
            if isinstance(origin, str):
                yield from _raised((*path, "allowed_origins", i), check_origin, origin)
        for key, value in table(source, "labels").items():
            for text in (key, value):
                if isinstance(text, str) and not _LABEL.fullmatch(text):
                    message = f"{text!r}: labels begin with a letter; letters, digits and `-` follow"
                    yield Fault((*path, "labels", key), message)
        apps = table(data, "oauth")
        for i, app in enumerate(_list(source, "oauth")):
            if isinstance(app, str) and app not in apps:
                hint = did_you_mean(app, apps) or f"configured apps: {', '.join(apps) or 'none'}"
                yield Fault((*path, "oauth", i), f"there is no app {app!r} in [oauth]", hint)


def broken_oauth_rules(data: dict[str, Any]) -> Iterator[Fault]:
    """Every rule that [oauth] breaks; whether a key can be read: cdpd/config/public_keys.py."""
    for name in table(data, "oauth"):
        app = table(data, "oauth", name)
        path: Path = ("oauth", name)
        keys = _list(app, "keys")
        if app.get("keys") == []:
            yield Fault((*path, "keys"), "needs at least one public key")
        seen: set[str] = set()
        for i, key in enumerate(keys):
            if not isinstance(key, dict):
                continue
            if ("pem" in key) == ("file" in key):
                yield Fault((*path, "keys", i), "a key needs either pem or file")
            kid = key.get("kid")
            if isinstance(kid, str):
                if kid in seen:
                    yield Fault((*path, "keys", i, "kid"), f"there are two keys with the id {kid!r}")
                seen.add(kid)
        for i, scope in enumerate(_list(app, "scopes")):
            if isinstance(scope, str) and scope not in SCOPES:
                hint = did_you_mean(scope, SCOPES) or f"scopes: {', '.join(SCOPES)}"
                yield Fault((*path, "scopes", i), f"there is no scope {scope!r}", hint)
        for i, audience in enumerate(_list(app, "audience")):
            if isinstance(audience, str) and not audience.strip("/ "):
                yield Fault((*path, "audience", i), "a name of this server cannot be empty")
        if isinstance(app.get("token_lifetime"), str):
            yield from _raised((*path, "token_lifetime"), _check_lifetime, app["token_lifetime"])


def check_origin(text: str) -> None:
    """Raises ValueError for what is no origin, as browsers send it, nor one with `*.` before its domain."""
    if text != "null" and not _ORIGIN.fullmatch(text):
        raise ValueError(f"{text!r} is no origin: write https://www.example.com or https://*.example.com")


def _check_lifetime(text: str) -> None:
    if not SHORTEST <= parse_duration(text) <= LONGEST:
        raise ValueError(f"{text!r}: a token is good for 1m at least and for 30d at most")


def _raised(path: Path, check: Callable[[str], object], value: str) -> Iterator[Fault]:
    try:
        check(value)
    except ValueError as error:
        yield Fault(path, str(error))


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []
