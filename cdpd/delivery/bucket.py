"""A token bucket: how much may go now so that a rate is kept. Pure: times are passed in, monotonic seconds."""

from __future__ import annotations

from msgspec import Struct


class Bucket(Struct):
    """Fills with `rate` tokens a second up to `capacity`, and begins full.

    Whoever takes more than there is leaves a debt, which is paid before anything else goes: the rate holds whatever
    the sizes.
    """

    rate: float
    capacity: float
    at: float
    """When `tokens` was right."""
    tokens: float

    @classmethod
    def full(cls, rate: float, capacity: float, now: float) -> Bucket:
        return cls(rate, capacity, now, capacity)

    def has(self, now: float) -> float:
        """Tokens at this moment; below 0: debt."""
        return min(self.tokens + (now - self.at) * self.rate, self.capacity)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so many may be taken; for more than it holds, until it is full. 0: now."""
        missing = min(amount, self.capacity) - self.has(now)
        # Sums of fractions of a second are not exact: a billionth of a token too few is none too few.
        return missing / self.rate if missing > 1e-9 else 0.0

    def take(self, amount: float, now: float) -> None:
        """So many go now."""
        self.tokens, self.at = self.has(now) - amount, now
