"""Listen addresses: `HOST:PORT`, `[::1]:PORT`, `:PORT`, `https://HOST:PORT`, `unix:/path`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

FORM: Final = "HOST:PORT, like 127.0.0.1:8080, [::1]:8080 or :8080 for every address"
LONGEST_PATH: Final = 98
"""Bytes of a Unix socket's path: the system takes 107, and it is made under a slightly longer name first."""
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", re.ASCII)
_MODE: Final = re.compile(r"0?[0-7]{3}", re.ASCII)
_UNIX: Final = "unix:"


class Listen(Struct, frozen=True):
    """Where to listen: a TCP address (an empty host means every address of the machine), or a Unix socket."""

    host: str
    port: int
    path: str = ""
    """Of a Unix socket; host and port mean nothing then. `@name` for an abstract one (only from systemd)."""
    tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return _UNIX + self.path
        return f"https://{self._address}" if self.tls else self._address

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """How a client on this machine reaches it: http://…, https://… or unix:/path."""
        if self.path:
            return _UNIX + self.path
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"{'https' if self.tls else 'http'}://{Listen(host, self.port)._address}"

    @property
    def public(self) -> bool:
        """Whether other machines can reach it; a host name other than localhost counts as reachable."""
        if self.path:
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


def parse_listen(text: str) -> Listen:
    """The address in `text`; port 0 asks the system for a free one. Raises ValueError."""
    bare = text.strip()
    if bare.startswith(_UNIX):
        return Listen("", 0, path=_socket_path(text, bare.removeprefix(_UNIX)))
    tls = bare.startswith("https://")
    if tls or bare.startswith("http://"):
        bare = bare.partition("://")[2].removesuffix("/")
    host, colon, port = bare.rpartition(":")
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
    return Listen(host, int(port), tls=tls)


def _socket_path(text: str, path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError(f"{text!r}: write the whole path of a Unix socket, like unix:/run/cdpd/http.sock")
    if len(path.encode()) > LONGEST_PATH:
        raise ValueError(f"{text!r}: a Unix socket's path has {LONGEST_PATH} bytes at most")
    return path


def listens(value: str | Sequence[str]) -> list[Listen]:
    """Every address of a `listen` setting, which is one text or a list. Raises ValueError."""
    return [parse_listen(text) for text in ([value] if isinstance(value, str) else value)]


def nearest(urls: Iterable[str]) -> str | None:
    """The one of these URLs (of `Listen.url`) by which a program on this machine gets in most easily.

    TLS comes last: no certificate names 127.0.0.1.
    """
    order = {"http": 0, "unix": 1, "https": 2}
    return min(urls, key=lambda url: order.get(url.partition(":")[0], 3), default=None)


def parse_mode(text: str) -> int:
    """The rights of a Unix socket's file, like `0660`. Raises ValueError."""
    if not _MODE.fullmatch(text):
        raise ValueError(f"{text!r} is no file mode: write three octal digits, like 0660")
    return int(text, 8)
