"""Listen addresses: `HOST:PORT`, `[::1]:PORT`, `:PORT`."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from msgspec import Struct

FORM: Final = "HOST:PORT, like 127.0.0.1:8080, [::1]:8080 or :8080 for every address"
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", re.ASCII)


class Listen(Struct, frozen=True):
    """Where to listen. An empty host means every address of the machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """How a client on this machine reaches it."""
        if self.host in ("", "0.0.0.0"):
            return f"http://127.0.0.1:{self.port}"
        return f"http://{Listen('::1' if self.host == '::' else self.host, self.port)}"

    @property
    def public(self) -> bool:
        """Whether other machines can reach it; a host name other than localhost counts as reachable."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


def parse_listen(text: str) -> Listen:
    """The address in `text`; port 0 asks the system for a free one. Raises ValueError."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal():
        raise ValueError(f"{text!r} is no address to listen on: write {FORM}")
    if int(port) > 65535:
        raise ValueError(f"{text!r}: port {port} is over 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"{text!r}: {host!r} is no IPv6 address") from None
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, like [{host}]:{port}")
    elif host and not _HOST_NAME.fullmatch(host):
        raise ValueError(f"{text!r}: {host!r} is no host name; write {FORM}")
    return Listen(host, int(port))
