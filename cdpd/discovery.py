"""Installed plugins, by entry point: hooks, destinations and commands, none imported before it is wanted.

The module itself is a `cdpd.config.plugin_options.Catalogue`.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from msgspec import Struct

HOOKS: Final = "cdpd.hooks"
DESTINATIONS: Final = "cdpd.destinations"
COMMANDS: Final = "cdpd.commands"


class NameTaken(Exception):
    """Several installed packages offer a plugin of one name: which one is meant cannot be known."""


class Found(Struct, frozen=True):
    """An installed plugin, not imported yet."""

    name: str
    distribution: str
    """The package that brings it; all of them, with commas, where several claim the name."""
    version: str
    value: str
    """`module:attribute`"""
    group: str
    claims: int = 1
    """How many packages offer this name; `load` refuses when it is more than one."""

    def load(self) -> Any:
        """Import and return what the entry point names. Raises NameTaken, and whatever the import raises."""
        if self.claims > 1:
            kind = self.group.rpartition(".")[2].removesuffix("s")
            raise NameTaken(
                f"the {kind} {self.name!r} is offered by {self.claims} packages ({self.distribution}): "
                "uninstall all but one"
            )
        return EntryPoint(self.name, self.value, self.group).load()


def hooks() -> dict[str, Found]:
    """Hook plugins by name."""
    return _found(HOOKS)


def destinations() -> dict[str, Found]:
    """Destination classes by name."""
    return _found(DESTINATIONS)


def commands() -> dict[str, Found]:
    """Additional commands by name."""
    return _found(COMMANDS)


def _found(group: str) -> dict[str, Found]:
    claims: dict[str, dict[str, tuple[str, str]]] = {}
    for point in entry_points(group=group):
        package = point.dist.name if point.dist else "unknown"
        version = point.dist.version if point.dist else ""
        claims.setdefault(point.name, {}).setdefault(package, (version, point.value))
    return {name: _one(name, group, offers) for name, offers in sorted(claims.items())}


def _one(name: str, group: str, offers: dict[str, tuple[str, str]]) -> Found:
    packages = sorted(offers)
    return Found(
        name=name,
        distribution=", ".join(packages),
        version=", ".join(offers[package][0] for package in packages),
        value=offers[packages[0]][1],
        group=group,
        claims=len(packages),
    )
