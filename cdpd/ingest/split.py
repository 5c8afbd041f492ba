"""A body into its events, each still the client's own text.

The fast path decodes the envelope only; events stay raw. What the fast decoder refuses, tolerant.py may mend.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cdpd.ingest.refusal import Refused


class Peek(Struct):
    """What ingest needs to know of an event without changing it."""

    messageId: Raw | UnsetType = UNSET
    integrations: Raw | UnsetType = UNSET
    writeKey: Raw | UnsetType = UNSET
    write_key: Raw | UnsetType = UNSET

    @property
    def key(self) -> Raw | None:
        """The event's own write key."""
        return _one_of(self.writeKey, self.write_key)

    @property
    def has_key(self) -> bool:
        """Whether there is anything in the place of a write key."""
        return self.writeKey is not UNSET or self.write_key is not UNSET


class Envelope(Struct):
    """A batch: `batch` and what it says for all its events; other keys are the batch's own business."""

    batch: list[Raw] | UnsetType = UNSET
    context: Raw | UnsetType = UNSET
    integrations: Raw | UnsetType = UNSET
    sentAt: Raw | UnsetType = UNSET
    writeKey: Raw | UnsetType = UNSET
    write_key: Raw | UnsetType = UNSET


class Element(Struct, frozen=True):
    """An event that the tolerant path looked at."""

    text: bytes
    too_deep: bool = False


class Split(Struct):
    """A request's events, and what holds for all of them."""

    events: list[Raw] | list[Element]
    key: Raw | None
    """The write key in the body."""
    context: Raw | None = None
    integrations: Raw | None = None
    sent_at: Raw | None = None
    seen: Peek | None = None
    """What the first event was seen to have, where it was looked at already."""
    shared_too_deep: bool = False
    """The batch's context or integrations are nested too deep to be merged into anything."""


_decode_envelope = msgspec.json.Decoder(Envelope).decode
peek = msgspec.json.Decoder(Peek).decode
"""Peek at an event. Raises msgspec.ValidationError for what is no object, DecodeError for what is no JSON."""


def split_batch(body: bytes) -> Split:
    """The events of a batch.

    Raises Refused (invalid_batch) where there is no array `batch`, msgspec.DecodeError and RecursionError for
    what the tolerant path has to look at.
    """
    try:
        envelope = _decode_envelope(body)
    except msgspec.ValidationError:
        raise no_batch() from None
    if envelope.batch is UNSET:
        raise no_batch()
    return Split(
        events=envelope.batch,
        key=_one_of(envelope.writeKey, envelope.write_key),
        context=_present(envelope.context),
        integrations=_present(envelope.integrations),
        sent_at=_present(envelope.sentAt),
    )


def split_single(body: bytes) -> Split:
    """A body that is one event. Raises as split_batch."""
    try:
        seen = peek(body)
    except msgspec.ValidationError:
        raise no_object() from None
    return Split(events=[Raw(body.strip())], key=seen.key, seen=seen)


def no_batch() -> Refused:
    return Refused(400, "invalid_batch", 'the body must be an object with an array "batch"')


def no_object() -> Refused:
    return Refused(400, "invalid_json", "the body must be one event: a JSON object")


def _present(raw: Raw | UnsetType) -> Raw | None:
    return None if raw is UNSET or bytes(raw) == b"null" else raw


def _one_of(first: Raw | UnsetType, second: Raw | UnsetType) -> Raw | None:
    return _present(first) or _present(second)
