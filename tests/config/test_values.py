"""Durations and listen addresses."""

from __future__ import annotations

import pytest

from cdpd.config.address import Listen, parse_listen
from cdpd.config.duration import parse_duration, parse_keep


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("12h", 43200),
        ("7d", 604800),
        ("2w", 1209600),
        ("250ms", 0.25),
        (" 1.5 h ", 5400),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 days", "-1d", "1d2h", "forever", "\u0667d", "1_0s"])
def test_other_texts_are_refused_with_the_forms_named(text: str) -> None:
    with pytest.raises(ValueError, match="like 90s, 12h or 7d"):
        parse_duration(text)


def test_only_retention_may_be_forever() -> None:
    assert parse_keep("forever") is None
    assert parse_keep("1d") == 86400
    with pytest.raises(ValueError, match="or forever"):
        parse_keep("always")


@pytest.mark.parametrize(
    ("text", "listen", "url", "public"),
    [
        ("127.0.0.1:8080", Listen("127.0.0.1", 8080), "http://127.0.0.1:8080", False),
        ("[::1]:1", Listen("::1", 1), "http://[::1]:1", False),
        ("[::]:1", Listen("::", 1), "http://[::1]:1", True),
        (":80", Listen("", 80), "http://127.0.0.1:80", True),
        ("0.0.0.0:0", Listen("0.0.0.0", 0), "http://127.0.0.1:0", True),
        ("localhost:8080", Listen("localhost", 8080), "http://localhost:8080", False),
        ("cdp.internal:8080", Listen("cdp.internal", 8080), "http://cdp.internal:8080", True),
        ("https://[::]:443", Listen("::", 443, tls=True), "https://[::1]:443", True),
        ("https://127.0.0.1:0/", Listen("127.0.0.1", 0, tls=True), "https://127.0.0.1:0", False),
        (
            "unix:/run/cdpd/http.sock",
            Listen("", 0, path="/run/cdpd/http.sock"),
            "unix:/run/cdpd/http.sock",
            False,
        ),
    ],
)
def test_addresses_to_listen_on(text: str, listen: Listen, url: str, public: bool) -> None:
    assert parse_listen(text) == listen
    assert parse_listen(str(listen)) == listen
    assert listen.url == url
    assert listen.public is public


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8080", "write HOST:PORT"),
        ("localhost", "write HOST:PORT"),
        ("localhost:http", "write HOST:PORT"),
        ("localhost:65536", "over 65535"),
        ("::1:8080", r"in brackets, like \[::1\]:8080"),
        ("[::g]:8080", "no IPv6 address"),
        ("ftp://localhost:8080", "in brackets"),
        ("http://localhost", "write HOST:PORT"),
        ("http://localhost:8080/v1", "write HOST:PORT"),
        ("unix:cdpd.sock", "whole path of a Unix socket, like unix:/run/cdpd/http.sock"),
        ("unix:/run/cdpd/", "whole path"),
        ("unix:/" + "x" * 98, "98 bytes at most"),
        ("a b:1", "no host name"),
    ],
)
def test_what_is_no_address_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_listen(text)
