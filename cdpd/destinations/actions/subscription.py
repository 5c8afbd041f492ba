"""A mapping at work: does an event start it, and which payload comes of the event?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from cdpd.destinations.actions.action import Action, Preset
from cdpd.destinations.actions.config import ActionsConfig, Wanted, wanted
from cdpd.destinations.actions.fields import fields_of, names_of
from cdpd.mapping.fql.trigger import compile_trigger
from cdpd.mapping.kit.coerce import check
from cdpd.mapping.kit.compile import compile_mapping
from cdpd.mapping.kit.errors import MappingError


class Subscription:
    """Made of a valid configuration."""

    def __init__(self, of: Wanted) -> None:
        assert of.trigger is not None  # `problems_of` tells
        self.name = of.name
        self.action: Action = of.action
        self.trigger = compile_trigger(of.trigger)
        self.matches = self.trigger.test
        """Decoded event → whether it starts this."""
        self._mapping = compile_mapping(of.mapping)
        self._fields = fields_of(of.action.payload)
        self._names = names_of(of.action.payload)

    def payload(self, event: Mapping[str, Any]) -> tuple[Struct | None, Sequence[str]]:
        """The typed payload; or None, and what is wrong, every field of it."""
        try:
            resolved = self._mapping.resolve(event)
        except MappingError as error:
            return None, [str(error)]
        checked, errors = check(self._fields, resolved)
        if errors:
            return None, [str(error) for error in errors]
        names = self._names
        return self.action.payload(**{names[key]: value for key, value in checked.items()}), ()


def subscriptions(
    actions: Sequence[Action], presets: Sequence[Preset], config: ActionsConfig
) -> list[Subscription]:
    """All of a destination, in order. For a configuration without problems."""
    return [Subscription(each) for each in wanted(actions, presets, config)]
