"""analytics.js for browsers: the user's own copy of the library, so that the usual snippet loads it from here.

Everything is read and compressed once; a request is answered out of two dicts, so no path reaches the disk.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from cdpd.config.analytics_js import LibraryFiles

ENTRY: Final = "analytics.min.js"
FOR_ALL: Final = b"Access-Control-Allow-Origin: *\r\n"
"""Scripts are the same for everybody: one answer for all origins can be kept in any cache."""
KIND: Final = b"text/javascript; charset=utf-8"
_ENTRY_CACHE: Final = b"public, max-age=300"
_CHUNK_CACHE: Final = b"public, max-age=31536000, immutable"
_ALWAYS: Final = (
    b"Vary: Accept-Encoding\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Cross-Origin-Resource-Policy: cross-origin\r\n"
    b"Timing-Allow-Origin: *\r\n"
)

# The library finds its address in the tag that loaded it, but only where that begins with https://; otherwise
# it asks its vendor for settings and chunks. So it is told (`_cdn` is what it looks at first).
_WHERE: Final = """\
(function(){var s=document.currentScript,m=s&&/^(https?:\\/\\/.+?)\\/analytics\\.js\\/v1\\//.exec(s.src);
if(!m)return;
var t=document.querySelector("script[data-global-segment-analytics-key]"),
k=t&&t.getAttribute("data-global-segment-analytics-key")||"analytics",a=window[k]=window[k]||[];
if(a._cdn&&a._cdn!==m[1])return;
a._cdn=m[1];
%s})();
"""
# Where no public_url says how browsers reach us, the settings name no host for events, and they would go to the
# vendor: the address that the script came from is ours for certain.
_EVENTS: Final = """\
var o=a._loadOptions=a._loadOptions||{},i=o.integrations=o.integrations||{},n="Segment.io",
c=i[n]===undefined||i[n]===true?i[n]={}:i[n];
if(c&&!c.apiHost){c.apiHost=m[1].replace(/^https?:\\/\\//,"")+"/v1";c.protocol=m[1].split(":")[0];}
"""


class Asset(Struct, frozen=True):
    """One file as it is served, plain and with gzip."""

    plain: bytes
    gzipped: bytes
    tag: str
    """Its `ETag` without quotes; that of the compressed form ends with `-gzip`."""
    cache: bytes

    @classmethod
    def of(cls, content: bytes, cache: bytes) -> Asset:
        tag = hashlib.blake2b(content, digest_size=12).hexdigest()
        return cls(content, gzip.compress(content, 9, mtime=0), tag, cache)


class Served(Struct, frozen=True):
    """What to answer: status, body and whole header lines."""

    status: int
    body: bytes
    extra: bytes


class BrowserLibrary(Struct, frozen=True):
    """The library's files by the names under which browsers ask for them."""

    entry: Asset
    entry_for_events: Asset
    """The same, telling the library also where events go; for settings that cannot."""
    chunks: Mapping[str, Asset]

    @classmethod
    def of(cls, files: LibraryFiles) -> BrowserLibrary:
        """Compress them: some 20 ms."""
        return cls(
            Asset.of((_WHERE % "").encode() + files.entry, _ENTRY_CACHE),
            Asset.of((_WHERE % _EVENTS).encode() + files.entry, _ENTRY_CACHE),
            {name: Asset.of(content, _CHUNK_CACHE) for name, content in files.chunks.items()},
        )

    def find(self, name: str, host_known: bool) -> Asset | None:
        """The file that browsers know as `name`. `host_known`: the settings document says where events go."""
        if name == ENTRY:
            return self.entry if host_known else self.entry_for_events
        return self.chunks.get(name)


def served(asset: Asset, *, zipped: bool, if_none_match: str = "") -> Served:
    """The answer to a GET or HEAD: 200, or 304 where the browser has that form already."""
    tag = f'"{asset.tag}-gzip"' if zipped else f'"{asset.tag}"'
    extra = b"ETag: " + tag.encode() + b"\r\nCache-Control: " + asset.cache + b"\r\n" + _ALWAYS
    if _has(if_none_match, tag):
        return Served(304, b"", extra)
    if zipped:
        return Served(200, asset.gzipped, extra + b"Content-Encoding: gzip\r\n")
    return Served(200, asset.plain, extra)


def _has(if_none_match: str, tag: str) -> bool:
    """Weak comparison (RFC 9110 §13.1.2)."""
    tags = [text.strip().removeprefix("W/") for text in if_none_match.split(",")]
    return tag in tags or tags == ["*"]
