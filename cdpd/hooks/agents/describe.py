"""What a user agent and client hints tell of device, operating system and browser.

Better nothing than something wrong: a version that browsers froze is not told, nor a model that stands for any.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct
from ua_parser import OS, UserAgent

from cdpd.hooks.agents.hints import NO_HINTS, Hints
from cdpd.hooks.agents.parser import Parsed, Parser
from cdpd.hooks.remembered import Steps

_SPIDER: Final = "Spider"
"""ua-parser's device family of crawlers."""
_PROGRAMS: Final = ("Java",)
"""What it calls a crawler and is any program's HTTP library."""

_FROZEN_ANDROID: Final = "Android 10; K)"
_FROZEN_VERSIONS: Final = {"macOS": ("10.15", "10.15.7"), "Windows": ("10",)}
_NO_MODELS: Final = frozenset(("K", "iOS-Device", "Smartphone", "Feature Phone", "Tablet"))
_NAMES: Final = {"Mac OS X": "macOS"}
_OF_ANYBODY: Final = ("Chromium", "Google Chrome", "Android WebView")
"""Brands that say no more than the user agent."""
_CHROMES: Final = ("Chrome", "Chrome Mobile", "Chrome Mobile WebView")

_CONSOLE: Final = re.compile(r"PlayStation|Xbox|Nintendo")
_TV: Final = re.compile(
    r"Smart-?TV|Web0S|Apple ?TV|Google ?TV|BRAVIA|CrKey|HbbTV|\bRoku\b|\bAFT[A-Z]|\bTV\b", re.I
)
_TABLET: Final = re.compile(r"iPad|Tablet(?! PC)")
_MOBILE: Final = re.compile(r"Mobi|iPhone|iPod|Windows Phone")
_DESKTOP: Final = re.compile(r"Windows NT|Macintosh|X11|CrOS")


class Facts(Struct, frozen=True):
    """Each as it would stand in `context`; empty where nothing is known."""

    device: dict[str, str]
    """`type` (mobile, tablet, desktop, tv, console, bot), `manufacturer`, `model`."""
    os: dict[str, str]
    """`name`, `version`"""
    browser: dict[str, str]
    """`name`, `version`"""


def is_spider(found: Parsed) -> bool:
    """Whether ua-parser knows it for a crawler."""
    if found.device is None or found.device.family != _SPIDER:
        return False
    return found.browser is None or found.browser.family not in _PROGRAMS


def describe(text: str, hints: Hints, parse: Parser) -> Steps[Facts]:
    """The facts of a user agent of at most LONGEST characters; hints count for Chromium browsers alone."""
    if "Chrome/" not in text:
        hints = NO_HINTS
    frozen = _FROZEN_ANDROID in text
    if frozen and hints.model and not set("();") & set(hints.model):
        # As the browser would have said before: then the rules know the maker too.
        text = text.replace(_FROZEN_ANDROID, f"Android 10; {hints.model})", 1)
    found = yield from parse(text)
    system = _system(found.os, hints, frozen)
    return Facts(
        device=_device(found, "bot" if is_spider(found) else _type(text, system.get("name", ""), hints)),
        os=system,
        browser=_browser(found.browser, hints),
    )


def _device(found: Parsed, kind: str) -> dict[str, str]:
    facts = {"type": kind} if kind else {}
    device = found.device
    if device is not None and device.family != _SPIDER:
        maker, model = device.brand or "", device.model or ""
        if maker and not maker.startswith("Generic"):
            facts["manufacturer"] = maker
        if model and model not in _NO_MODELS:
            facts["model"] = model
    return facts


def _type(text: str, system: str, hints: Hints) -> str:
    if _CONSOLE.search(text):
        return "console"
    if _TV.search(text):
        return "tv"
    if hints.mobile is not None:
        return "mobile" if hints.mobile else "tablet" if system == "Android" else "desktop"
    if _TABLET.search(text):
        return "tablet"
    if _MOBILE.search(text):
        return "mobile"
    if "Android" in text:  # browsers on tablets leave out “Mobile”; other programs never say it
        return "tablet" if text.startswith("Mozilla/") else ""
    return "desktop" if _DESKTOP.search(text) else ""


def _system(found: OS | None, hints: Hints, frozen: bool) -> dict[str, str]:
    name = "" if found is None else _NAMES.get(found.family, found.family)
    version = "" if found is None else _joined(found.major, found.minor, found.patch, found.patch_minor)
    if (frozen and name == "Android") or version in _FROZEN_VERSIONS.get(name, ()):
        version = ""
    if hints.platform and not (
        hints.platform == "Linux" and name
    ):  # there the rules may know the distribution
        if hints.platform != name:
            name, version = hints.platform, ""
        version = hints.platform_version or version
    return _named(name, version)


def _browser(found: UserAgent | None, hints: Hints) -> dict[str, str]:
    if found is None:
        return {}
    name = found.family
    version = _joined(found.major, found.minor, found.patch, found.patch_minor)
    own = next((brand for brand in hints.brands if brand not in _OF_ANYBODY), "")
    if own and name in _CHROMES:
        return _named(own, hints.brands[own])
    for told in hints.brands.values():
        if found.major and told.startswith(f"{found.major}."):
            version = told
            break
    return _named(name, version)


def _joined(*parts: str | None) -> str:
    known = []
    for part in parts:
        if not part:
            break
        known.append(part)
    return ".".join(known)


def _named(name: str, version: str) -> dict[str, str]:
    if not name:
        return {}
    return {"name": name, "version": version} if version else {"name": name}
