"""Roles: the parts of the daemon that may have a process of their own, `[process] roles`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, get_args

Role = Literal["ingest", "process", "deliver"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""In the order in which an event comes by."""
FORM: Final = (
    'write it like [["ingest"], ["process", "deliver"]]: a list for each process, every role in one of them'
)


def broken_roles(value: Any) -> Iterator[str]:
    """What is wrong with `[process] roles`, where its shape is right: each role belongs to one process."""
    if not isinstance(value, list) or not all(isinstance(group, list) for group in value):
        return
    named = [role for group in value for role in group]
    if [] in value:
        yield "an empty list is a process that does nothing"
    for role in ROLES:
        if named.count(role) > 1:
            yield f'"{role}" is in {named.count(role)} processes'
        elif role not in named:
            yield f'"{role}" is in none'


def named(group: Sequence[Role]) -> str:
    """What a process with these roles is called: `process+deliver`."""
    return "+".join(role for role in ROLES if role in group)
