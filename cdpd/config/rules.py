"""What the types cannot say: addresses, durations, write keys, and names that must name something.

Works on the plain tables, so that a fault elsewhere hides nothing; shape.py tells of wrong types.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from cdpd.config.address import parse_listen, parse_mode
from cdpd.config.data_folder import STREAMS
from cdpd.config.duration import parse_duration, parse_keep
from cdpd.config.locate import Path
from cdpd.config.model import HttpConfig
from cdpd.config.problem import did_you_mean
from cdpd.config.roles import FORM as ROLES_FORM
from cdpd.config.roles import broken_roles
from cdpd.config.shape import Fault
from cdpd.config.size import parse_floor

DEEPEST: Final = 120
"""Deepest nesting of an event; DuckDB reads 128 levels, and the line around an event has some of its own."""
UNIX_PEER: Final = "unix"
"""In trusted_proxies: whoever comes by a Unix socket."""
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
"""Of sources, hooks, destinations and apps."""
_WRITE_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")


def broken_rules(data: dict[str, Any]) -> Iterator[Fault]:
    """Every rule that the tables break."""
    yield from _values(data)
    yield from _names(data)
    yield from _write_keys(data)
    yield from _destination_sources(data)
    yield from _renamed_destinations(data)


def table(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """`data[names[0]][names[1]]…`, or an empty table where that is no table."""
    for name in names:
        inner = data.get(name)
        if not isinstance(inner, dict):
            return {}
        data = inner
    return data


def _values(data: dict[str, Any]) -> Iterator[Fault]:
    checks: list[tuple[Path, Callable[[str], object]]] = [
        (("http", "unix_mode"), parse_mode),
        (("http", "public_url"), _check_url),
        (("metrics", "listen"), _check_metrics_listen),
        (("metrics", "token"), _check_token),
        (("log", "segment_age"), parse_duration),
        (("delivery", "keep_parked"), parse_keep),
        (("log", "min_free"), parse_floor),
        *((("log", stream, "keep"), parse_keep) for stream in STREAMS),
    ]
    for path, check in checks:
        value = table(data, *map(str, path[:-1])).get(str(path[-1]))
        if isinstance(value, str):
            yield from _raised(path, check, value)
    yield from _listen_faults(table(data, "http"))
    yield from _bounds(table(data, "http"))
    wrong = list(broken_roles(table(data, "process").get("roles")))
    if wrong:
        yield Fault(("process", "roles"), "; ".join(wrong), ROLES_FORM)
    proxies = table(data, "http").get("trusted_proxies")
    for i, proxy in enumerate(proxies if isinstance(proxies, list) else []):
        if isinstance(proxy, str):
            yield from _raised(("http", "trusted_proxies", i), _check_network, proxy)


def _listen_faults(http: dict[str, Any]) -> Iterator[Fault]:
    value = http.get("listen")
    if value == []:
        yield Fault(("http", "listen"), 'needs an address at least, like "127.0.0.1:8080"')
    texts = value if isinstance(value, list) else [value]
    for i, text in enumerate(texts):
        path: Path = ("http", "listen", i) if isinstance(value, list) else ("http", "listen")
        if not isinstance(text, str):
            continue
        try:
            listen = parse_listen(text)
        except ValueError as error:
            yield Fault(path, str(error))
            continue
        if listen.tls and "tls" not in http:
            hint = 'add [http.tls] certificate = "…", key = "…"'
            yield Fault(path, f"{text} needs a certificate, and there is no [http.tls]", hint)
        if (listen.port or listen.path) and text in texts[:i]:
            yield Fault(path, f"{text} stands twice in this list")


def _bounds(http: dict[str, Any]) -> Iterator[Fault]:
    depth = http.get("max_depth")
    if isinstance(depth, int) and depth > DEEPEST:
        message = f"expected {DEEPEST} at most, found {depth}: `cdpd query` could not read deeper events"
        yield Fault(("http", "max_depth"), message)
    largest = http.get("max_batch_bytes", HttpConfig().max_batch_bytes)
    together = http.get("max_in_flight_bytes", HttpConfig().max_in_flight_bytes)
    if isinstance(largest, int) and isinstance(together, int) and together < largest:
        key = "max_in_flight_bytes" if "max_in_flight_bytes" in http else "max_batch_bytes"
        message = (
            f"one body may have {largest} bytes, but all together only {together}: it could never be taken"
        )
        yield Fault(("http", key), message, "make max_in_flight_bytes many times max_batch_bytes")


def _raised(path: Path, check: Callable[[str], object], value: str) -> Iterator[Fault]:
    try:
        check(value)
    except ValueError as error:
        yield Fault(path, str(error))


def _check_url(text: str) -> None:
    if not re.fullmatch(r"https?://[^\s/?#]+/?", text):
        raise ValueError(f"{text!r} is no address of this daemon: write https://HOST, without a path")


def _check_metrics_listen(text: str) -> None:
    if parse_listen(text).tls:
        raise ValueError(
            "metrics are not served over TLS here: listen on 127.0.0.1, behind a proxy where need be"
        )


def _check_token(text: str) -> None:
    if not text.strip():
        raise ValueError("the token is empty: make one with `openssl rand -hex 16`")


def _check_network(text: str) -> None:
    if text == UNIX_PEER:
        return
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            right = ipaddress.ip_network(text, strict=False)
        except ValueError:
            forms = f"10.0.0.7, 10.0.0.0/8, or {UNIX_PEER} for a proxy that comes by a Unix socket"
            raise ValueError(f"{text!r} is no address or network: write {forms}") from None
        raise ValueError(f"{text!r} has bits set after its prefix: write {right}") from None


def _names(data: dict[str, Any]) -> Iterator[Fault]:
    for section in ("sources", "hooks", "destinations", "oauth", "alerts"):
        for name in table(data, section):
            if not NAME.fullmatch(name):
                message = f"{name!r} cannot be a name: use letters, digits, `_`, `-` and `.` (100 at most)"
                yield Fault((section, name), message, at_key=True)


def _write_keys(data: dict[str, Any]) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    for name, source in table(data, "sources").items():
        keys = source.get("write_keys") if isinstance(source, dict) else None
        if keys == []:
            yield Fault(("sources", name, "write_keys"), "needs at least one write key")
        for i, key in enumerate(keys if isinstance(keys, list) else []):
            path = ("sources", name, "write_keys", i)
            if not isinstance(key, str):
                continue
            if not key:
                yield Fault(path, "a write key cannot be empty")
            elif not _WRITE_KEY.fullmatch(key):
                yield Fault(path, "a write key is 1 to 200 printable ASCII characters, without spaces")
            elif key in owners:
                owner = "this source" if owners[key] == name else f"source {owners[key]}"
                yield Fault(path, f"{owner} has this write key already", "give each source keys of its own")
            else:
                owners[key] = name


def _destination_sources(data: dict[str, Any]) -> Iterator[Fault]:
    known = table(data, "sources")
    for name, destination in table(data, "destinations").items():
        sources = destination.get("sources") if isinstance(destination, dict) else None
        for i, source in enumerate(sources if isinstance(sources, list) else []):
            if isinstance(source, str) and source not in known:
                hint = did_you_mean(source, known) or f"configured sources: {', '.join(known) or 'none'}"
                yield Fault(("destinations", name, "sources", i), f"there is no source {source!r}", hint)


def _renamed_destinations(data: dict[str, Any]) -> Iterator[Fault]:
    destinations = table(data, "destinations")
    heirs: dict[str, str] = {}
    for name, destination in destinations.items():
        was = destination.get("was") if isinstance(destination, dict) else None
        path = ("destinations", name, "was")
        if not isinstance(was, str):
            continue
        if was == name:
            yield Fault(path, "that is the name which it has now", "write the one that it had before")
        elif was in destinations:
            message = f"[destinations.{was}] is still there: two destinations cannot go on from one place"
            yield Fault(path, message, "take that section out, or leave `was` out and start anew")
        elif was in heirs:
            yield Fault(path, f"[destinations.{heirs[was]}] has this name already", "only one can take over")
        else:
            heirs[was] = name
