"""The SDKs that `cdpd snippet` knows: what each is, and its start-up lines with key and host filled in.

The lines are in snippets/NAME.txt. In them `<<key>>` and the other marks stand for string literals of that SDK's
language, so that no key can break out of its quotes. How each is pointed at a host: spec/wire.md, and the SDKs' own
sources.
"""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Callable
from importlib.resources import files
from typing import Final
from urllib.parse import quote, urlsplit

from msgspec import Struct

_MARK: Final = re.compile(r"<<([a-z_]+:?)>>")


class Sdk(Struct, frozen=True):
    """One SDK."""

    title: str
    literal: Callable[[str], str]
    """A text as a string literal of its language."""
    tls_only: bool = False
    """It speaks https whatever it is told."""
    needs_library: bool = False
    """Its script comes from `[http] analytics_js`."""


class Target(Struct, frozen=True):
    """Where events go, and as which source."""

    url: str
    """`https://cdp.example.com`, without a slash at its end."""
    key: str

    @property
    def tls(self) -> bool:
        return self.url.startswith("https:")

    def values(self) -> dict[str, str]:
        """What the marks stand for, before it becomes a literal."""
        parts = urlsplit(self.url)
        return {
            "key": self.key,
            "key:": f"{self.key}:",
            "url": self.url,
            "host": parts.netloc,
            "api_host": f"{parts.netloc}/v1",
            "protocol": parts.scheme,
            "name": parts.hostname or "",
        }

    def texts(self) -> dict[str, str]:
        """What other marks stand for, as it is."""
        return {
            "tls": "true" if self.tls else "false",
            "port": str(urlsplit(self.url).port or (443 if self.tls else 80)),
            "key_in_url": quote(self.key, safe=""),
            "url_attribute": html.escape(self.url),
        }


def lines(name: str, target: Target) -> str:
    """The start-up lines of an SDK, ready to be pasted; ends with a line break."""
    sdk = SDKS[name]
    filled = {mark: sdk.literal(value) for mark, value in target.values().items()} | target.texts()
    template = files("cdpd.cli").joinpath("snippets", f"{name}.txt").read_text(encoding="utf-8")
    return _MARK.sub(lambda mark: filled[mark[1]], template)


def _double(text: str) -> str:
    """In double quotes: Go, Java, Python, and JavaScript in a page, where no tag may end the script."""
    return json.dumps(text).replace("<", "\\u003c")


def _single(text: str) -> str:
    """In single quotes: PHP and Ruby."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _script(text: str) -> str:
    """JavaScript in single quotes, as the examples of npm packages are written."""
    return "'" + json.dumps(text)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


def _swift(text: str) -> str:
    return json.dumps(text)  # a key is ASCII: nothing but quotes and backslashes is escaped


def _kotlin(text: str) -> str:
    return json.dumps(text).replace("$", "\\$")  # a template begins with $


SDKS: Final[dict[str, Sdk]] = {
    "curl": Sdk("any shell: a first event, to try it", shlex.quote),
    "browser": Sdk("a website: a tag for the head of each page", _double, needs_library=True),
    "analytics-next": Sdk("a website with a bundler: @segment/analytics-next", _script),
    "node": Sdk("Node.js: @segment/analytics-node", _script),
    "python": Sdk("Python: segment-analytics-python", _double),
    "java": Sdk("Java: com.segment.analytics.java", _double),
    "go": Sdk("Go: analytics-go", _double),
    "ruby": Sdk("Ruby: analytics-ruby", _single, tls_only=True),
    "php": Sdk("PHP: analytics-php", _single),
    "kotlin": Sdk("Android: analytics-kotlin", _kotlin, tls_only=True),
    "swift": Sdk("iOS and other Apple systems: analytics-swift", _swift, tls_only=True),
    "rudder-js": Sdk("a website with a bundler: @rudderstack/analytics-js", _script),
    "rudder-node": Sdk("Node.js: @rudderstack/rudder-sdk-node", _script),
    "rudder-python": Sdk("Python: rudder-sdk-python", _double),
    "pixel": Sdk("an e-mail: an image that tells when it was opened", _double),
}
"""By the name that `--sdk` takes, in the order in which they are shown."""
