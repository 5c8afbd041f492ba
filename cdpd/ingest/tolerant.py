"""The path for bodies that the fast decoder refuses: one bad event must not cost its neighbours.

First mends what can be mended (mend.py). What is nested too deep for the decoder is split without it: brackets
are counted, events that are shallow enough are decoded as usual, the others are rejected one by one. What is
still no JSON is refused as a whole, for there is no telling where its events begin.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from cdpd.ingest.mend import mend
from cdpd.ingest.refusal import invalid_json, too_large
from cdpd.ingest.split import Element, Split, no_batch, no_object, split_batch, split_single

DECODABLE: Final = 512
"""Levels of nesting that are safely within what the decoder can take."""
MAX_COMMAS: Final = 250_000
"""A body with more is split by counting brackets: decoding could make millions of small objects of it."""
MAX_ELEMENTS: Final = 150_000
"""No batch of more could stay within the limit for its lines, which is checked with the exact sizes later."""

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^\s,\[\]{}"]++', re.DOTALL)
_TO_BRACKETS: Final = re.compile(
    rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+(?:([\[{]++)|([\]}]++))', re.DOTALL
)

_decode_raw = msgspec.json.Decoder(Raw).decode
_decode_string = msgspec.json.Decoder(str).decode


def split_tolerantly(body: bytes, single: bool) -> tuple[bytes, Split, Counter[str]]:
    """The mended body, what split_single or split_batch gives for it, and what was mended, by code.

    Raises Refused: invalid_json, invalid_batch, too_large.
    """
    body, counts = mend(body)
    split: Callable[[bytes], Split] = split_single if single else split_batch
    if body.count(b",") <= MAX_COMMAS:
        try:
            return body, split(body), counts
        except msgspec.DecodeError as error:
            raise invalid_json(_reason(error)) from None
        except RecursionError:
            pass
    return body, _deep_single(body) if single else _deep_batch(body), counts


def _reason(error: msgspec.DecodeError) -> str:
    return str(error).removeprefix("JSON is malformed: ")


def _deep_single(body: bytes) -> Split:
    members, end = _members(body)
    text = body[_skip_space(body, 0) : end]
    deep = any(levels > DECODABLE for _, levels in members.values())
    if not deep:
        _check(text)
    return Split(
        events=[Element(text, deep)], key=_shallow(members, "writeKey") or _shallow(members, "write_key")
    )


def _deep_batch(body: bytes) -> Split:
    members, _ = _members(body)
    if "batch" not in members or not members["batch"][0].startswith(b"["):
        raise no_batch()
    shared = [members.get(name, (b"null", 0)) for name in ("context", "integrations")]
    return Split(
        events=_elements(members["batch"][0]),
        key=_shallow(members, "writeKey") or _shallow(members, "write_key"),
        context=_shallow(members, "context"),
        integrations=_shallow(members, "integrations"),
        sent_at=_shallow(members, "sentAt"),
        shared_too_deep=any(levels > DECODABLE for _, levels in shared),
    )


Members = dict[str, tuple[bytes, int]]
"""Key → its value's text and how many levels that has."""


def _shallow(members: Members, key: str) -> Raw | None:
    """A member's value, checked; None where it is absent, null or nested too deep."""
    text, levels = members.get(key, (b"null", 0))
    return None if levels > DECODABLE or text == b"null" else _check(text)


def _members(body: bytes) -> tuple[Members, int]:
    """The members of the object that the body is, and where it ends. Raises Refused."""
    at = _skip_space(body, 0)
    if body[at : at + 1] != b"{":
        raise no_object()
    members: Members = {}
    at = _skip_space(body, at + 1)
    if body[at : at + 1] == b"}":
        at += 1
    else:
        while True:
            key = _STRING.match(body, at)
            if key is None:
                raise invalid_json(f"expected a key in quotes (byte {at})")
            at = _skip_space(body, key.end())
            if body[at : at + 1] != b":":
                raise invalid_json(f"expected a colon (byte {at})")
            at = _skip_space(body, at + 1)
            end, levels = _value(body, at)
            members[_key(key[0])] = (body[at:end], levels)
            if len(members) > MAX_ELEMENTS:
                raise too_large("the body", MAX_ELEMENTS, "keys")
            at, more = _next(body, end, b"}")
            if not more:
                break
    end = at
    if _skip_space(body, at) != len(body):
        raise invalid_json(f"something follows its end (byte {at})")
    return members, end


def _elements(array: bytes) -> list[Element]:
    """The elements of an array, each decoded to see that it is JSON unless it is nested too deep for that."""
    elements: list[Element] = []
    at = _skip_space(array, 1)
    if array[at : at + 1] == b"]":
        return elements
    while True:
        end, levels = _value(array, at)
        text = array[at:end]
        if levels <= DECODABLE:
            _check(text)
        elements.append(Element(text, levels > DECODABLE))
        if len(elements) > MAX_ELEMENTS:
            raise too_large("the batch", MAX_ELEMENTS, "elements")
        at, more = _next(array, end, b"]")
        if not more:
            return elements


def _value(text: bytes, at: int) -> tuple[int, int]:
    """Where the value at `at` ends, and how many levels it has."""
    if text[at : at + 1] not in (b"{", b"["):
        scalar = _SCALAR.match(text, at)
        if scalar is None:
            raise invalid_json(f"expected a value (byte {at})")
        return scalar.end(), 0
    depth = deepest = 0
    while True:
        found = _TO_BRACKETS.match(text, at)
        if found is None:
            raise invalid_json("it ends too early")
        opened = found[1]
        if opened is not None:
            at = found.end()
            depth += len(opened)
            deepest = max(deepest, depth)
            continue
        begin, at = found.span(2)
        if at - begin >= depth:  # the rest of the run closes what this value stands in
            return begin + depth, deepest
        depth -= at - begin


def _next(text: bytes, at: int, closing: bytes) -> tuple[int, bool]:
    """After a value: the place of the next, or after the closing bracket."""
    at = _skip_space(text, at)
    mark = text[at : at + 1]
    if mark == b",":
        return _skip_space(text, at + 1), True
    if mark == closing:
        return at + 1, False
    raise invalid_json(f"expected a comma or {closing.decode()} (byte {at})")


def _skip_space(text: bytes, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _check(text: bytes) -> Raw:
    try:
        return _decode_raw(text)
    except msgspec.DecodeError as error:
        raise invalid_json(_reason(error)) from None


def _key(text: bytes) -> str:
    try:
        return _decode_string(text)
    except msgspec.DecodeError as error:
        raise invalid_json(_reason(error)) from None
