"""`$browser` and `$browser_version`, told from a user agent. Source: spec/destinations.md §2.3."""

from __future__ import annotations

import re
from typing import Final

_VERSION: Final = r"(\d+(?:\.\d+)+)"
_TOKENS: Final = {
    "Microsoft Edge": rf"Edge?/{_VERSION}",
    "Chrome": rf"Chrome/{_VERSION}",
    "Chrome iOS": rf"CriOS/{_VERSION}",
    "UC Browser": rf"(?:UCBrowser|UCWEB)/?{_VERSION}",
    "Safari": rf"Version/{_VERSION}",
    "Mobile Safari": rf"Version/{_VERSION}",
    "Opera": rf"(?:Opera|OPR)/{_VERSION}",
    "Firefox": rf"Firefox/{_VERSION}",
    "Firefox iOS": rf"FxiOS/{_VERSION}",
    "Konqueror": rf"Konqueror:{_VERSION}",
    "BlackBerry": rf"BlackBerry {_VERSION}",
    "Android Mobile": rf"android {_VERSION}",
    "Samsung Internet": rf"SamsungBrowser/{_VERSION}",
    "Internet Explorer": rf"(?:rv:|MSIE ){_VERSION}",
    "Internet Explorer Mobile": rf"rv:{_VERSION}",
    "Mozilla": rf"rv:{_VERSION}",
}


def browser(agent: str) -> str:
    """The name; "" where none fits."""
    if " OPR/" in agent:
        return "Opera Mini" if "Mini" in agent else "Opera"
    if re.search("BlackBerry|PlayBook|BB10", agent, re.IGNORECASE):
        return "BlackBerry"
    for pattern, name in (
        ("IEMobile|WPDesktop", "Internet Explorer Mobile"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Edge|Edg/", "Microsoft Edge"),
        ("FBIOS", "Facebook Mobile"),
        ("Chrome", "Chrome"),
        ("CriOS", "Chrome iOS"),
        ("UCWEB|UCBrowser", "UC Browser"),
        ("FxiOS", "Firefox iOS"),
        ("Safari", "Mobile Safari" if "iPhone" in agent else "Safari"),
        ("Android", "Android Mobile"),
        ("Konqueror", "Konqueror"),
        ("Firefox", "Firefox"),
        ("MSIE|Trident/", "Internet Explorer"),
        ("Gecko", "Mozilla"),
    ):
        if re.search(pattern, agent):
            return name
    return ""


def browser_version(agent: str) -> str | None:
    """The version; None where it cannot be told."""
    pattern = _TOKENS.get(browser(agent))
    found = re.search(pattern, agent) if pattern else None
    return found[1] if found else None
