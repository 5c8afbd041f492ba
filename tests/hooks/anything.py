"""Events with anything in them, for hypothesis, and what may have changed of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from cdpd.event import Event
from tests.hooks.applying import decoded
from tests.pipeline.rig import received_line

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def events(context: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Calls with any fields; those of `context` come often, as the strategies say or as anything."""
    optional = {key: values | VALUES for key, values in context.items()}
    contexts = st.fixed_dictionaries({}, optional=optional) | VALUES
    return st.fixed_dictionaries(
        {"type": st.sampled_from(["track", "page", "identify"]), "context": contexts},
        optional={
            "event": VALUES,
            "userId": VALUES,
            "anonymousId": VALUES,
            "properties": VALUES,
            "traits": VALUES,
        },
    )


def received(event: Mapping[str, Any], **line: Any) -> Event:
    """The event as it comes into the chain."""
    return decoded(received_line(event, **line))


def changed(before: Mapping[str, Any], after: Event, *but: str) -> list[str]:
    """Paths of what is not as it was, below `context` too; not those of `but`, where something was added.

    Of a path in `but`, what was there before must be there still, unless it was null or "".
    """
    paths: list[str] = []
    _compare(msgspec.json.decode(received(before).line()), msgspec.json.decode(after.line()), "", but, paths)
    return paths


def _compare(before: Any, now: Any, path: str, but: Sequence[str], paths: list[str]) -> None:
    if not (isinstance(before, dict) and isinstance(now, dict) and path in ("", *_prefixes(but))):
        if before != now and not (path in but and before in (None, "", _NOTHING)):
            paths.append(path)
        return
    for key in before | now:
        inner = f"{path}.{key}".lstrip(".")
        _compare(before.get(key, _NOTHING), now.get(key, _NOTHING), inner, but, paths)


_NOTHING = object()


def _prefixes(paths: Sequence[str]) -> set[str]:
    parts = [path.split(".") for path in paths]
    return {".".join(path[:n]) for path in parts for n in range(1, len(path) + 1)}
