"""How a request came in: the `via` of its lines, with the client's address behind trusted proxies."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

import msgspec

from cdpd.event import Via
from cdpd.ingest.request import Request
from cdpd.ingest.settings import Network

MAX_USER_AGENT: Final = 1024
"""Characters; `via` stands in every line of a batch."""
MAX_ORIGIN: Final = 256
_encode: Final = msgspec.json.Encoder().encode


def retries(request: Request) -> int:
    """How often the client has sent this before, by its own count: Segment's header or RudderStack's."""
    text = request.headers.get("x-retry-count") or request.headers.get("rsa-retry-attempt")
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 7 else 0


def via_json(request: Request, path: str, ip: str, retry: int) -> bytes:
    """The `via` object as JSON text; `path` is the endpoint's, without a trailing slash."""
    get = request.headers.get
    via = Via(path, ip, get("user-agent", "")[:MAX_USER_AGENT], get("origin", "")[:MAX_ORIGIN], retry)
    try:
        return _encode(via)
    except UnicodeEncodeError:  # header bytes that are no UTF-8
        return _encode(Via(path, ip, legible(via.user_agent), legible(via.origin), via.retry))


def legible(text: str) -> str:
    """A header's text where it holds bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "\ufffd")


def client_ip(request: Request, trusted: tuple[Network, ...], trusts_unix: bool = False) -> str:
    """The peer; behind trusted proxies the right-most hop of `X-Forwarded-For` that is none of them.

    Where a hop cannot be read, the last one that could be stands: whatever is left of it may be invented.
    A peer that comes by a Unix socket has no address; `trusts_unix` says that it is a proxy.
    """
    ip = _normal(request.peer)
    if not (_is_trusted(ip, trusted) if ip else trusts_unix):
        return ip
    for hop in reversed(request.forwarded_for().split(",")):
        try:
            address = _address(hop.strip())
        except ValueError:
            break
        ip = str(address)
        if not _is_trusted(ip, trusted):
            break
    return ip


def network(address: str) -> str:
    """Whose address it is, for limits: an IPv6 client has a /64 to itself."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, 64), strict=False))
    except ValueError:
        return address


@lru_cache(maxsize=4096)
def _normal(peer: str) -> str:
    """IPv4 in IPv6 as IPv4; a text that is no address as it is."""
    try:
        return str(_address(peer))
    except ValueError:
        return peer


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address, also `1.2.3.4:5678`, `[::1]` and `[::1]:5678`. Raises ValueError."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=4096)
def _is_trusted(ip: str, trusted: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return any(address in network for network in trusted)
