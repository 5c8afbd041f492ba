"""Client hints (`context.userAgentData`, event-spec.md §3): what a Chromium browser says beside its user agent,
which tells little since its makers froze it: Android is always 10 on a `K`, Windows 10.0, macOS 10.15.7.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from cdpd.section import decode_value

_LONGEST: Final = 100
"""Characters of a text that are taken."""
_MADE_UP: Final = re.compile(r"[\W_]*Not[\W_]*A?[\W_]*Brand[\W_]*", re.IGNORECASE | re.ASCII)
"""Brands that browsers put in so that nobody relies on the list (`Not/A)Brand`)."""
_PLATFORMS: Final = {
    **{name: name for name in ("Android", "Chrome OS", "iOS", "Linux", "macOS", "Windows")},
    "Chromium OS": "Chrome OS",
}
_WINDOWS: Final = {"0.1": "7", "0.2": "8", "0.3": "8.1"}


class Hints(Struct, frozen=True):
    """What hints say; "" and None where they say nothing."""

    mobile: bool | None = None
    platform: str = ""
    platform_version: str = ""
    """As people call it: `11` for Windows 11."""
    model: str = ""
    brands: dict[str, str] = {}
    """Brand → version, the full one where it is told; without those that are made up."""


NO_HINTS: Final = Hints()


def read_hints(raw: bytes) -> Hints:
    """The hints of a JSON text; whatever in it has the wrong type is passed over."""
    try:
        found = decode_value(Raw(raw))
    except (msgspec.DecodeError, ValueError):
        return NO_HINTS
    if not isinstance(found, dict):
        return NO_HINTS
    platform = _PLATFORMS.get(_text(found.get("platform")), "")
    mobile = found.get("mobile")
    return Hints(
        mobile=mobile if isinstance(mobile, bool) else None,
        platform=platform,
        platform_version=_version(platform, _text(found.get("platformVersion"))),
        model=_text(found.get("model")),
        brands={**_brands(found.get("brands")), **_brands(found.get("fullVersionList"))},
    )


def _text(value: Any) -> str:
    return value.strip()[:_LONGEST] if isinstance(value, str) else ""


def _brands(value: Any) -> dict[str, str]:
    found = {}
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, dict):
            brand = _text(entry.get("brand"))
            if brand and not _MADE_UP.fullmatch(brand):
                found[brand] = _text(entry.get("version"))
    return found


def _version(platform: str, told: str) -> str:
    """A platform's version as people call it.

    Windows tells the version of an interface: 13 and up is Windows 11, 1 to 10 is Windows 10. Linux tells its
    kernel's, which is no version of what people call it.
    """
    if platform == "Linux" or not re.fullmatch(r"\d+(\.\d+)*", told, re.ASCII):
        return ""
    major, *rest = told.split(".")
    if platform == "Windows":
        if len(major) > 3:
            return ""
        number = int(major)
        return "11" if number >= 13 else "10" if number else _WINDOWS.get(f"0.{rest[0]}" if rest else "", "")
    while rest and not int(rest[-1]):
        rest.pop()
    return ".".join([major, *rest])
