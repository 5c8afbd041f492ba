"""Bodies for benchmarks: orders of about 1.4 KB with random ids and varied text, never two alike.

How random a body is decides what compression makes of it. Here ids are random and texts are drawn from a vocabulary
of two thousand words by Zipf's law, as in languages; keys and the shape repeat, as an SDK's do.
"""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import Any, Final

_SYLLABLES: Final = (
    "ka",
    "lo",
    "mi",
    "ren",
    "tas",
    "vu",
    "shi",
    "bor",
    "el",
    "an",
    "quo",
    "ter",
    "pli",
    "sun",
    "dro",
)
_AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 "
    "Safari/605.1.15",
)


class Bodies:
    """Makes events, the same ones for one seed; `users` of them, each with a history of orders."""

    def __init__(self, seed: int = 1, users: int = 100_000) -> None:
        self._random = Random(seed)
        self._users = users
        words = {"".join(parts) for parts in itertools.product(_SYLLABLES, repeat=3)}
        self._words = sorted(words)[:2000]
        self._random.shuffle(self._words)
        self._weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(self._words))))

    def event(self) -> dict[str, Any]:
        """One `Order Completed`, with a `messageId` of its own."""
        r = self._random
        product = [self._product() for _ in range(4)]
        url = "https://shop.example.com/" + "/".join(self._some(3))
        return {
            "type": "track",
            "event": "Order Completed",
            "messageId": f"node-next-{1_795_000_000_000 + r.randrange(10**9)}-{self._uuid()}",
            "userId": f"user-{r.randrange(self._users)}",
            "anonymousId": self._uuid(),
            "timestamp": f"2026-11-{r.randint(1, 28):02}T{r.randrange(24):02}:{r.randrange(60):02}:"
            f"{r.randrange(60):02}.{r.randrange(1000):03}Z",
            "properties": {
                "order_id": f"{r.getrandbits(96):024x}",
                "checkout_id": f"{r.getrandbits(96):024x}",
                "revenue": r.randrange(100, 50_000) / 100,
                "currency": r.choice(("USD", "EUR", "JPY")),
                "coupon": " ".join(self._some(2)),
                "products": product,
            },
            "context": {
                "library": {"name": "@segment/analytics-node", "version": "3.1.0"},
                "userAgent": r.choice(_AGENTS),
                "page": {"url": url, "path": url[24:], "title": " ".join(self._some(5)).title()},
                "locale": r.choice(("en-US", "de-DE", "ja-JP")),
            },
            "integrations": {},
        }

    def single(self) -> bytes:
        """The body of one event."""
        return self.dumped(self.event())

    def batch(self, events: int = 100) -> bytes:
        """The body of a batch."""
        return self.dumped(
            {"batch": [self.event() for _ in range(events)], "sentAt": "2026-11-23T20:35:59.391Z"}
        )

    @staticmethod
    def dumped(document: object) -> bytes:
        """JSON without spaces, as SDKs send it."""
        return json.dumps(document, separators=(",", ":")).encode()

    def _product(self) -> dict[str, Any]:
        r = self._random
        return {
            "product_id": f"{r.getrandbits(96):024x}",
            "sku": f"{r.randrange(10**5)}-{r.randrange(100)}",
            "name": " ".join(self._some(4)).title(),
            "price": r.randrange(100, 20_000) / 100,
            "quantity": r.randint(1, 5),
            "category": self._some(1)[0],
        }

    def _some(self, count: int) -> list[str]:
        return self._random.choices(self._words, cum_weights=self._weights, k=count)

    def _uuid(self) -> str:
        text = f"{self._random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
