"""Hostile requests: recorded ones, broken in every way that a seeded generator finds."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct

WIRE = Path(__file__).parents[1] / "ingest" / "wire"

LITERALS: tuple[bytes, ...] = (
    *(b"NaN", b"-Infinity", b"1e999999999", b"-0", b"0x10", b"01", b"9" * 400, b"1.5e-400", b"'", b'"'),
    *(rb"\ud800", rb"\udc00\ud83d", rb"\u0000", rb"\x41", b"\\", b"\x00", b"\xff", b"\xed\xa0\x80"),
    *(b"{", b"}", b"[", b"]", b",", b":", b"[" * 2000, b'{"a":' * 500, b"\xef\xbb\xbf", b"\r\n\r\n", b"null"),
)
"""What is put into bodies."""
STRINGS: tuple[str, ...] = (
    *("", " ", "\x00", "\ud800", "\ufeff", "a" * 101, "b" * 40_000, "../../etc/passwd", "__proto__"),
    *(
        "2026-11-24T25:61:61Z",
        "-1",
        "1e400",
        "🙂" * 50,
        "\u202e",
        "%00",
        "${jndi:x}",
        "'; drop table events;--",
    ),
    *("true", "NaN", "null", "0.0.0.0", "::1", "999.1.1.1", "All", "writeKey"),
)
KEYS: tuple[str, ...] = (
    *(
        "batch",
        "writeKey",
        "write_key",
        "type",
        "userId",
        "anonymousId",
        "groupId",
        "previousId",
        "messageId",
    ),
    *("context", "integrations", "timestamp", "sentAt", "originalTimestamp", "receivedAt", "properties"),
    *(
        "traits",
        "event",
        "name",
        "category",
        "options",
        "action",
        "from",
        "to",
        "",
        "__proto__",
        "reject",
        "via",
    ),
)
METHODS = (
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "TRACE",
    "HEAD",
    "OPTIONS",
    "CONNECT",
    "post",
    "POST\t",
    "BREW",
)
PATHS = (
    *(
        "/",
        "/v1/batch",
        "/v1/import/",
        "/v1/b",
        "/v1/t",
        "/v1/track",
        "/beacon/v1/batch?writeKey=WRITEKEY",
        "/v1/m",
    ),
    *("/v1/pixel/track", "/pixel/v1/page", "/sourceConfig/", "/token", "/health/ready", "/robots.txt"),
    *("/v1/projects/WRITEKEY/settings", "/v1/projects/%00/settings", "/v1/projects//settings", "/-/x/"),
    *("/analytics.js/v1/WRITEKEY/analytics.min.js", "/analytics.js/v1/WRITEKEY/..%2f..%2fetc%2fpasswd"),
    *(
        "//v1/batch",
        "/v1/../v1/batch",
        "/v1/batch%00",
        "/v1/batch;x",
        "/" + "a" * 9000,
        "/%",
        "*",
        "http://x/v1/t",
    ),
)


class Hostile(Struct):
    """A request as bytes; `whole` where it is one well-formed HTTP request, which must be answered."""

    data: bytes
    whole: bool
    kept: list[str] = []
    """messageIds of the good events in it, which must be stored if it is answered 200."""


class Recording(Struct):
    """A recorded request."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    """Decompressed."""


def recordings() -> list[Recording]:
    """The recorded requests that have a body, and a few that have none."""
    found = []
    for path in sorted(WIRE.glob("*.json")):
        request: dict[str, Any] = json.loads(path.read_text())
        if "body_base64" in request:
            body = gzip.decompress(base64.b64decode(request["body_base64"]))
        else:
            body = request["body_text"].encode()
        skip = ("host", "content-length", "content-encoding", "connection")
        headers = [(name, text) for name, text in request["headers"].items() if name.lower() not in skip]
        found.append(Recording(request["method"], request["path"], headers, body))
    return found


class Mutator:
    """Makes hostile requests, always the same ones for one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.recordings = recordings()
        self._made = 0
        self._name = f"h{seed}"
        self._kinds: list[Callable[[], Hostile]] = [
            self.broken_bytes,
            self.broken_bytes,
            self.broken_json,
            self.broken_json,
            self.bad_neighbours,
            self.bad_neighbours,
            self.broken_compression,
            self.odd_headers,
            self.odd_target,
            self.pixel,
            self.token,
            self.broken_http,
        ]

    def next(self) -> Hostile:
        self._made += 1
        return self.random.choice(self._kinds)()

    # -- kinds ---------------------------------------------------------------------------------------------

    def broken_bytes(self) -> Hostile:
        """A recorded body with bytes changed, left out, doubled or put in."""
        request = self._posted()
        body = bytearray(request.body)
        for _ in range(self.random.choice((1, 1, 2, 8))):
            at, end = sorted(self.random.randrange(len(body) + 1) for _ in range(2))
            match self.random.randrange(5):
                case 0 if body:
                    body[at % len(body)] = self.random.randrange(256)
                case 1:
                    del body[at : min(end, at + 50)]
                case 2:
                    body[at:at] = body[at : min(end, at + 200)]
                case 3:
                    body[at:at] = self.random.choice(LITERALS)
                case _:
                    del body[end:]
        return self._whole(request, bytes(body))

    def broken_json(self) -> Hostile:
        """A recorded body, valid JSON still, with values and keys that nobody expects."""
        request = self._posted()
        document = json.loads(request.body)
        for _ in range(self.random.choice((1, 1, 3))):
            document = self._changed(document)
        return self._whole(request, self._dumped(document))

    def bad_neighbours(self) -> Hostile:
        """A batch in which good events stand between bad ones."""
        events: list[Any] = []
        kept = []
        for i in range(self.random.randint(1, 6)):
            good = f"{self._name}-{self._made}-{i}"
            kept.append(good)
            events += [self._value(3), {"type": "track", "event": "Good", "userId": "u", "messageId": good}]
        batch: dict[str, Any] = {"batch": events, "sentAt": self._value(1)}
        if self.random.random() < 0.3:
            batch[self.random.choice(("timestamp", "sequence", "messageId", "extra"))] = self._value(2)
        made = self._whole(self.random.choice(self._batches()), self._dumped(batch))
        made.kept = kept
        return made

    def broken_compression(self) -> Hostile:
        request = self._posted()
        body = request.body
        encoding = self.random.choice(
            ("gzip", "x-gzip", "deflate", "GZIP", "br", "zstd", "gzip, gzip", "identity", "")
        )
        match self.random.randrange(7):
            case 0:
                data = gzip.compress(body)[: self.random.randrange(20, 60)]
            case 1:
                data = bytearray(gzip.compress(body))
                data[self.random.randrange(len(data))] ^= 0xFF
            case 2:
                data = zlib.compress(body)
            case 3:
                data = gzip.compress(body) + self.random.randbytes(9)
            case 4:
                data = gzip.compress(b"[" * self.random.choice((10_000, 5_000_000)))
            case 5:
                data = gzip.compress(gzip.compress(body))
            case _:
                data = body
        return self._whole(request, bytes(data), [("Content-Encoding", encoding)])

    def odd_headers(self) -> Hostile:
        request = self._posted()
        odd = self.random.choice(
            [
                [("Authorization", "Basic !!!")],
                [("Authorization", "Basic " + base64.b64encode(self.random.randbytes(30)).decode())],
                [("Authorization", "Bearer " + "x" * self.random.choice((0, 1, 7000)))],
                [("Authorization", "\xff\xfe")],
                [("Origin", "https://" + "o" * 3000), ("User-Agent", "a\x7f\xe9" * 900)],
                [("X-Retry-Count", "-1"), ("X-Forwarded-For", "x, 1.2.3.4, [::1]:5,,")],
                [("X-Retry-Count", "9" * 50), ("Rsa-Retry-Attempt", "NaN")],
                [("Content-Type", "multipart/form-data; boundary=")],
                [("Expect", "100-continue")],
                [("Cookie", "c=" + "y" * 6000)],
                [("Accept-Encoding", "gzip;q=x, *;q=")],
                [("Connection", "close, keep-alive")],
            ]
        )
        return self._whole(request, request.body, odd)

    def odd_target(self) -> Hostile:
        request = self.random.choice(self.recordings)
        path = self.random.choice(PATHS)
        if self.random.random() < 0.3:
            path += ("&" if "?" in path else "?") + self._query()
        method = self.random.choice(METHODS)
        data = self._request(method, path, request.headers, request.body if method != "GET" else b"")
        return Hostile(data, whole=False)

    def pixel(self) -> Hostile:
        path = self.random.choice(
            ("/v1/pixel/track", "/v1/pixel/identify.gif", "/pixel/v1/track", "/pixel/v1/page")
        )
        if self.random.random() < 0.5:
            data = self._dumped(
                self._changed({"writeKey": "WRITEKEY", "event": "E", "userId": "u", "context": {}})
            )
            text = (
                base64.b64encode(data)
                .decode()
                .replace("+", self.random.choice(("-", "+", "%2B", " ")).strip() or "-")
            )
            query = "data=" + text.replace("/", "_")[: self.random.choice((9, 9000))]
        else:
            query = self._query()
        return Hostile(self._request("GET", f"{path}?writeKey=WRITEKEY&{query}", [], b""), whole=True)

    def token(self) -> Hostile:
        parts = {
            "grant_type": self.random.choice(("client_credentials", "password", "")),
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self.random.choice(
                ("", "a.b.c", "e30.e30.e30", "eyJhbGciOiJub25lIn0.e30.", "é")
            ),
            "scope": self.random.choice(("tracking_api:write", "", "x" * 5000)),
        }
        body = "&".join(
            f"{key}={value}" for key, value in parts.items() if self.random.random() < 0.9
        ).encode()
        if self.random.random() < 0.3:
            body = self.random.randbytes(self.random.randrange(300))
        kind = self.random.choice(("application/x-www-form-urlencoded", "application/json", "", "text/plain"))
        headers = [("Content-Type", kind)]
        return Hostile(self._request("POST", "/token", headers, body), whole=True)

    def broken_http(self) -> Hostile:
        """Bytes that are no HTTP request, or hardly one; the connection ends after them."""
        request = self._posted()
        good = self._request(request.method, request.path, request.headers, request.body)
        head, _, body = good.partition(b"\r\n\r\n")
        choices: list[bytes] = [
            self.random.randbytes(self.random.randrange(1, 400)),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.random.randbytes(20),
            b"\x16\x03\x01\x02\x00\x01\x00" + self.random.randbytes(200),
            good[: self.random.randrange(1, len(good))],
            head.replace(b"HTTP/1.1", self.random.choice((b"HTTP/1.0", b"HTTP/9", b"HTTP/1.1 x")))
            + b"\r\n\r\n"
            + body,
            head.replace(b"\r\n", b"\n") + b"\n\n" + body,
            head + b"\r\nContent-Length: 5\r\n\r\n" + body,
            head + b"\r\nContent-Length: -1\r\n\r\n" + body,
            head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + body,
            head + b"\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            self._headless(head) + b"\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + body,
            self._headless(head) + b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
            head + b"\r\nX: " + b"y" * 20_000 + b"\r\n\r\n" + body,
            head + b"\r\n" + b"A: b\r\n" * 500 + b"\r\n" + body,
            head + b"\r\nNo colon here\r\n\r\n" + body,
            head + b"\r\nX-Nul: a\x00b\r\n\r\n" + body,
        ]
        return Hostile(self.random.choice(choices), whole=False)

    # -- parts ---------------------------------------------------------------------------------------------

    def _posted(self) -> Recording:
        return self.random.choice(
            [one for one in self.recordings if one.method == "POST" and one.body[:1] == b"{"]
        )

    def _batches(self) -> list[Recording]:
        """Batches whose write key is in the header: their bodies are to be replaced."""
        return [
            one
            for one in self.recordings
            if (one.method, one.path) == ("POST", "/v1/batch") and "'Basic " in str(one.headers)
        ]

    def _whole(self, request: Recording, body: bytes, more: list[tuple[str, str]] | None = None) -> Hostile:
        return Hostile(self._request(request.method, request.path, request.headers, body, more), whole=True)

    def _request(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]],
        body: bytes,
        more: list[tuple[str, str]] | None = None,
    ) -> bytes:
        odd = {name.lower() for name, _ in more or []}
        kept = [(name, text) for name, text in headers if name.lower() not in odd]
        length = [("Content-Length", str(len(body)))] if body or method == "POST" else []
        lines = [("Host", "127.0.0.1"), *kept, *length, *(more or [])]
        head = f"{method} {path.replace(' ', '+')} HTTP/1.1\r\n".encode("latin-1", "replace")
        return (
            head + b"".join(f"{n}: {t}\r\n".encode("latin-1", "replace") for n, t in lines) + b"\r\n" + body
        )

    @staticmethod
    def _headless(head: bytes) -> bytes:
        """Without its Content-Length."""
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        return b"\r\n".join(lines)

    def _changed(self, document: Any) -> Any:
        """A document with one of its values, keys or elements changed."""
        parents: list[tuple[Any, Any]] = []
        todo = [document]
        while todo:
            at = todo.pop()
            items = (
                list(at.items())
                if isinstance(at, dict)
                else list(enumerate(at))
                if isinstance(at, list)
                else []
            )
            parents += [(at, key) for key, _ in items]
            todo += [value for _, value in items]
        if not parents or self.random.random() < 0.02:
            return self._value(2)
        at, key = self.random.choice(parents)
        match self.random.randrange(5):
            case 0:
                del at[key]
            case 1 if isinstance(at, dict):
                at[self.random.choice(KEYS)] = self._value(2)
            case 2 if isinstance(at, list):
                at.insert(key, self._value(2))
            case 3:
                at[key] = self._nested(self.random.choice((10, 63, 64, 65, 130, 400)))
            case _:
                at[key] = self._value(2)
        return document

    def _value(self, depth: int) -> Any:
        """Any JSON value, more often a surprising one."""
        pick = self.random.randrange(9)
        if pick == 0 and depth:
            return {self.random.choice(KEYS): self._value(depth - 1) for _ in range(self.random.randrange(5))}
        if pick == 1 and depth:
            return [self._value(depth - 1) for _ in range(self.random.randrange(5))]
        if pick == 2:
            numbers = (0, -1, 1.5, 10**30, -(10**400), 1e308, float("nan"), float("inf"), 2**63, 1700000000)
            return self.random.choice(numbers)
        if pick == 3:
            return self.random.choice((None, True, False))
        return self.random.choice(STRINGS)

    def _nested(self, depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value] if self.random.random() < 0.5 else {"a": value}
        return value

    def _query(self) -> str:
        parts = []
        for _ in range(self.random.randrange(8)):
            key = self.random.choice((*KEYS, "properties.a.b", "context.page.url", "a..b", ".", "data"))
            value = self.random.choice(("", "1", "%ff%fe", "%00", "a+b", "%", "ü", "x" * 500, "{}", "=", "&"))
            parts.append(f"{key}={value}")
        return "&".join(parts)

    @staticmethod
    def _dumped(document: Any) -> bytes:
        return json.dumps(document).encode()
