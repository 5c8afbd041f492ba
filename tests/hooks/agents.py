"""User agents as programs send them."""

from __future__ import annotations

from typing import Final

_WEBKIT: Final = "AppleWebKit/537.36 (KHTML, like Gecko)"
_APPLE: Final = "AppleWebKit/605.1.15 (KHTML, like Gecko)"

CHROME_WINDOWS: Final = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/120.0.0.0 Safari/537.36"
CHROME_MAC: Final = (
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Chrome/120.0.0.0 Safari/537.36"
)
CHROME_LINUX: Final = f"Mozilla/5.0 (X11; Linux x86_64) {_WEBKIT} Chrome/120.0.0.0 Safari/537.36"
CHROME_OS: Final = f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_WEBKIT} Chrome/120.0.0.0 Safari/537.36"
CHROME_ANDROID: Final = f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT} Chrome/124.0.0.0 Mobile Safari/537.36"
CHROME_ANDROID_TABLET: Final = f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT} Chrome/124.0.0.0 Safari/537.36"
CHROME_PIXEL: Final = (
    f"Mozilla/5.0 (Linux; Android 14; Pixel 8 Pro) {_WEBKIT} Chrome/120.0.6099.43 Mobile Safari/537.36"
)
EDGE: Final = f"{CHROME_WINDOWS} Edg/120.0.0.0"
XBOX: Final = EDGE.replace("x64)", "x64; Xbox; Xbox One)")
OPERA: Final = f"{CHROME_WINDOWS} OPR/106.0.0.0"
SAMSUNG_TABLET: Final = f"Mozilla/5.0 (Linux; Android 13; SM-X906B) {_WEBKIT} Chrome/120.0.0.0 Safari/537.36"
CUBOT: Final = f"Mozilla/5.0 (Linux; Android 9; CUBOT X19) {_WEBKIT} Chrome/119.0 Mobile Safari/537.36"
FIREFOX: Final = "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/119.0"
FIREFOX_TABLET: Final = "Mozilla/5.0 (Android 13; Tablet; rv:120.0) Gecko/120.0 Firefox/120.0"
SAFARI: Final = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE} Version/17.2 Safari/605.1.15"
IPHONE: Final = (
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) {_APPLE} Version/17.1 Mobile/15E148 Safari/604.1"
)
IPAD: Final = (
    f"Mozilla/5.0 (iPad; CPU OS 17_1 like Mac OS X) {_APPLE} Version/17.1 Mobile/15E148 Safari/604.1"
)
FACEBOOK: Final = (
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) {_APPLE} Mobile/21B74 "
    "[FBAN/FBIOS;FBDV/iPhone12,1;FBMD/iPhone;FBSN/iOS;FBSV/17.1]"
)
TV: Final = f"Mozilla/5.0 (Web0S; Linux/SmartTV) {_WEBKIT} Chrome/79.0.3945.79 Safari/537.36 WebAppManager"
PLAYSTATION: Final = f"Mozilla/5.0 (PlayStation; PlayStation 5/2.26) {_APPLE} Version/13.0 Safari/605.1.15"
IE: Final = "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; Tablet PC 2.0; rv:11.0) like Gecko"
DALVIK: Final = "Dalvik/2.1.0 (Linux; U; Android 12; Pixel 6 Build/SD1A.210817.023)"
CFNETWORK: Final = "MyApp/1 CFNetwork/1410.0.3 Darwin/22.6.0"
GOOGLEBOT: Final = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
GPTBOT: Final = f"Mozilla/5.0 {_WEBKIT.replace(')', '')}; compatible; GPTBot/1.0; +https://openai.com/gptbot)"
BYTESPIDER: Final = (
    f"Mozilla/5.0 (Linux; Android 5.0) {_WEBKIT} Mobile Safari/537.36 (compatible; Bytespider)"
)
LIGHTHOUSE: Final = f"{CHROME_PIXEL} Chrome-Lighthouse"
HEADLESS: Final = CHROME_LINUX.replace("Chrome/", "HeadlessChrome/")
PROGRAMS: Final = (
    *("okhttp/4.9.0", "curl/8.1.2", "analytics-python/2.3", "node-fetch/1.0", "node", "axios/1.6.0"),
    *(
        "python-requests/2.31.0",
        "Go-http-client/1.1",
        "Java/17.0.1",
        "Ruby",
        "Apache-HttpClient/4.5.13 (Java/11)",
    ),
    *("PostmanRuntime/7.36", "GuzzleHttp/7", "aiohttp/3.9", "Faraday v1.0", "Wget/1.21"),
)
"""HTTP libraries and the like: no browsers, but no crawlers either."""
