"""Keeps the events of a share of the users and discards those of the others as `sampled`.

    [hooks.sample]
    rate = 0.1                 # of the users
    events = ["Mouse Moved"]   # of these track events alone

A user is in or out for good: it depends on the id, the rate and the salt alone, on every machine and in every version.
The rule, to be used elsewhere too: BLAKE2b (digest size 8 bytes, no key) over the UTF-8 text SALT + NUL + ID, read as a
big-endian integer; an event is kept where that is less than `rate` · 2^64. So who is in at a rate is in at every higher
one, and samples with different salts are independent. In Python:
`int.from_bytes(hashlib.blake2b(f"{salt}\\0{id}".encode(), digest_size=8).digest()) < rate * 2**64`

Someone who was anonymous and logs in may change sides, unless `by` names what stays the same.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from cdpd.config.problem import did_you_mean
from cdpd.event import Event
from cdpd.hooks.patterns import globs
from cdpd.hookspecs import Discard, hookimpl
from cdpd.plugins import Plugin, PluginEnv
from cdpd.section import Section

CODE: Final = "sampled"
USER: Final = "user"
_IDS: Final = (USER, "userId", "anonymousId", "groupId", "previousId", "messageId")
_SECTIONS: Final = ("properties", "traits", "context", "integrations")
_decode_text: Final = msgspec.json.Decoder(str).decode


class Sample(Plugin):
    """Keeps the events of a stable share of the users."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        rate: Annotated[float, Meta(ge=0, le=1)]
        """The share that is kept: 0.1 is a tenth of the users, not of the events."""
        by: str = USER
        """`user` (userId, else anonymousId), `userId`, `anonymousId`, `groupId`, `previousId`, `messageId`, or a path
        to a string, number or boolean, like `properties.cartId`."""
        salt: str = ""
        """Another salt draws another sample. With the same one a smaller sample is part of a larger one."""
        types: list[Literal["identify", "track", "page", "screen", "group", "alias"]] = []
        """Types of events that are sampled, others pass; with `events` too: what either describes. Both empty: all."""
        events: list[str] = []
        """Names of track events that are sampled; `*`, `?` and `[…]` match as in file names."""
        missing: Literal["keep", "drop"] = "keep"
        """What becomes of events that do not have what `by` names."""
        record: bool = True
        """False: what is left out leaves nothing in the stream `discarded`, but is counted."""

        def __post_init__(self) -> None:
            first, *rest = self.by.split(".")
            if rest and all(rest) and first in _SECTIONS:
                return
            if self.by not in _IDS:
                hint = did_you_mean(self.by, _IDS) or did_you_mean(first, _SECTIONS)
                known = f"{', '.join(_IDS)}, or a path in {', '.join(_SECTIONS)} like properties.cartId"
                raise ValueError(f"by: {self.by!r} is nothing to sample by; {hint or f'there are {known}'}")

    def __init__(self, config: Any, env: PluginEnv) -> None:
        super().__init__(config, env)
        self._below: float = config.rate * 2**64  # exactly: only the exponent changes
        self._salt = f"{config.salt}\0".encode()
        self._paths: list[list[str]] = (
            [["userId"], ["anonymousId"]] if config.by == USER else [config.by.split(".")]
        )
        self._types = frozenset(config.types)
        self._events = globs(config.events) if config.events else None
        share = f"outside the sample of {config.rate * 100:g} % by {config.by}"
        self._outside = Discard(CODE, share, config.record)
        self._without = (
            Discard(CODE, f"no {config.by} to sample by", config.record) if config.missing == "drop" else None
        )

    @hookimpl
    def cdpd_filter(self, event: Event) -> Discard | None:
        if not self._applies(event):
            return None
        for path in self._paths:
            value = _value(event, path)
            if value:
                return None if share(self._salt, value) < self._below else self._outside
        return self._without

    def _applies(self, event: Event) -> bool:
        if not self._types and self._events is None:
            return True
        kind = event.type
        if kind in self._types:
            return True
        return self._events is not None and kind == "track" and bool(self._events(event.event or ""))


def share(salt: bytes, value: bytes) -> int:
    """Where an id falls in 0 … 2^64-1; `salt` ends with NUL, both are UTF-8."""
    return int.from_bytes(blake2b(salt + value, digest_size=8).digest())


def _value(event: Event, path: list[str]) -> bytes:
    """A string's text, or the JSON text of a number or boolean, as UTF-8; b"" for anything else."""
    place: Section = event
    for key in path[:-1]:
        inner = place.get(key)
        if not isinstance(inner, Section):
            return b""
        place = inner
    return _text(place.raw_field(path[-1]))


def _text(raw: Raw | None) -> bytes:
    text = b"null" if raw is None else bytes(raw)
    if text[0] == 0x22:
        decoded = text[1:-1] if b"\\" not in text else _decode_text(text).encode()
        return decoded if decoded.strip() else b""
    return b"" if text[0] in b"{[n" else text
