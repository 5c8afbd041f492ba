"""One HTTP exchange as every destination makes it: bounded in what it reads, careful with redirects."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote_plus, urljoin, urlsplit, urlunsplit

from cdpd.destinations.answers import Answer
from cdpd.secret import HIDDEN

if TYPE_CHECKING:
    import aiohttp

MOST_READ: Final = 64 * 1024
"""Bytes of an answer that are read; the connection of a longer one is closed."""
MOST_REDIRECTS: Final = 20
_REDIRECTS: Final = (307, 308)
"""Those that keep method and body …"""
_REDIRECTS_OF_READING: Final = (301, 302, 303, 307, 308)
"""… and those of a GET or HEAD, which has no body to lose."""
_PORTS: Final = {"http": 80, "https": 443}
_SECRET_PARAMETERS: Final = frozenset(
    ("api_secret", "api_key", "_k", "access_token", "token", "key", "secret")
)


async def send(
    http: aiohttp.ClientSession, method: str, url: str, *, data: bytes = b"", headers: Mapping[str, str]
) -> Answer:
    """Send, and read the answer. 307 and 308 are followed with method and body, all redirects of GET and HEAD.

    Only on the same host, though, and 20 times at most. A redirect to another host is returned as it is: what goes
    along (credentials, people's data) was meant for the configured one. Raises what aiohttp raises;
    `answers.failure_of` knows what that means.
    """
    for _ in range(1 + MOST_REDIRECTS):
        async with http.request(
            method, url, data=data or None, headers=headers, allow_redirects=False
        ) as response:
            read = bytearray()
            while len(read) < MOST_READ:
                chunk = await response.content.read(MOST_READ - len(read))
                if not chunk:
                    break
                read += chunk
            else:
                response.close()
            answer = Answer(response.status, response.headers, _text(bytes(read), response.charset))
        target = _next(method, url, answer)
        if target is None:
            return answer
        url = target
    return answer


def _next(method: str, url: str, answer: Answer) -> str | None:
    location = answer.headers.get("Location")
    followed = _REDIRECTS_OF_READING if method in ("GET", "HEAD") else _REDIRECTS
    if answer.status not in followed or not location:
        return None
    target = urljoin(url, location)
    old, new = urlsplit(url), urlsplit(target)
    same_host = old.hostname == new.hostname
    upgraded = (old.scheme, new.scheme) == ("http", "https")
    same_port = (old.port or _PORTS.get(old.scheme)) == (new.port or _PORTS.get(new.scheme))
    return target if same_host and (upgraded or (old.scheme == new.scheme and same_port)) else None


def _text(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(codecs.lookup(charset or "utf-8").name, errors="replace")
    except LookupError:
        return data.decode(errors="replace")


def shown_request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
    """A request as it is kept beside a parked event: no header's value, no secret parameter; the body cut."""
    lines = [f"{method} {shown_url(url)}", *(f"{name}: {HIDDEN}" for name in headers)]
    text = body[:MOST_READ].decode(errors="replace")
    return "\n".join([*lines, "", text + ("…" if len(body) > MOST_READ else "")])


def shown_url(url: str) -> str:
    """The address without its password and secret parameters."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = parts.query
    if any(name.lower() in _SECRET_PARAMETERS for name, _ in parse_qsl(query)):
        pairs = parse_qsl(query, keep_blank_values=True)
        query = "&".join(f"{quote_plus(name)}={_shown_value(name, value)}" for name, value in pairs)
    return urlunsplit((parts.scheme, host, parts.path, query, parts.fragment))


def _shown_value(name: str, value: str) -> str:
    return HIDDEN if name.lower() in _SECRET_PARAMETERS else quote_plus(value)
