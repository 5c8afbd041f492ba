"""Browsers and their versions, told from user agents. Source: spec/destinations.md §2.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd_mixpanel.browser import browser, browser_version

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
MAC = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT}"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT}"
ANDROID = f"Mozilla/5.0 (Linux; Android 14; SM-S911B) {WEBKIT}"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "name", "version"),
    [
        (f"{MAC} Chrome/120.0.0.0 Safari/537.36", "Chrome", "120.0.0.0"),
        (f"{WINDOWS} Chrome/120.0.0.0 Safari/537.36 OPR/106.0.4998.70", "Opera", "106.0.4998.70"),
        (f"{ANDROID} Chrome/30.0.0.0 Mobile Safari/537.36 Mini OPR/7.5.3", "Opera Mini", None),
        ("BlackBerry9700/5.0.0.862 Profile/MIDP-2.1", "BlackBerry", None),
        ("Mozilla/5.0 (BB10; Touch) Version/10.2.1 Mobile Safari/537.10+", "BlackBerry", None),
        ("something blackberry", "BlackBerry", None),
        ("BlackBerry 7.1 (playbook)", "BlackBerry", "7.1"),
        ("Mozilla/5.0 (Windows Phone 8.1; IEMobile/11.0; rv:11.0)", "Internet Explorer Mobile", "11.0"),
        ("Mozilla/5.0 (WPDesktop; Lumia 920)", "Internet Explorer Mobile", None),
        (f"{ANDROID} SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36", "Samsung Internet", "23.0"),
        (f"{WINDOWS} Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91", "Microsoft Edge", "120.0.2210.91"),
        (f"{WINDOWS} Chrome/64.0 Safari/537.36 Edge/17.17134", "Microsoft Edge", "17.17134"),
        (f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/440.0]", "Facebook Mobile", None),
        (f"{IPHONE} CriOS/120.0.6099.119 Mobile/15E148 Safari/604.1", "Chrome iOS", "120.0.6099.119"),
        ("Mozilla/5.0 (Linux; Android) UCBrowser/12.13.4.1214 Mobile", "UC Browser", "12.13.4.1214"),
        ("UCWEB7.0.2.37/28/999", "UC Browser", "7.0.2.37"),
        (f"{IPHONE} FxiOS/121.0 Mobile/15E148 Safari/605.1.15", "Firefox iOS", "121.0"),
        (f"{IPHONE} Version/17.2 Mobile/15E148 Safari/604.1", "Mobile Safari", "17.2"),
        (f"{MAC} Version/17.2 Safari/605.1.15", "Safari", "17.2"),
        ("Dalvik/2.1.0 (Linux; Android 14)", "Android Mobile", None),
        ("Dalvik (Linux; Android; android 4.4)", "Android Mobile", "4.4"),
        ("Mozilla/5.0 (compatible; Konqueror:4.5; Linux)", "Konqueror", "4.5"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0", "Firefox", "121.0"),
        ("Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2)", "Internet Explorer", "10.0"),
        ("Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko", "Internet Explorer", "11.0"),
        ("Mozilla/5.0 (X11; rv:1.9.2) Gecko/20100115", "Mozilla", "1.9.2"),
        ("curl/8.5.0", "", None),
        (f"{MAC} Chrome/120 Safari/537.36", "Chrome", None),
    ],
)
def test_a_browser_is_known_by_the_first_of_its_marks_and_a_version_has_a_dot(
    agent: str, name: str, version: str | None
) -> None:
    assert (browser(agent), browser_version(agent)) == (name, version)


@given(st.text())
def test_any_text_has_an_answer(agent: str) -> None:
    version = browser_version(agent)
    assert version is None or (browser(agent) and version in agent)
