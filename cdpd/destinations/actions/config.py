"""`[[destinations.X.actions]]`: which actions run when, with what; and what is wrong there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from cdpd.config.problem import did_you_mean
from cdpd.destinations.actions.action import MOST_MAPPINGS, Action, Preset
from cdpd.destinations.actions.fields import defaults_of, fields_of
from cdpd.destinations.contract import DestinationConfig, Problem
from cdpd.mapping.fql.errors import FqlSyntaxError
from cdpd.mapping.fql.trigger import compile_trigger
from cdpd.mapping.kit.compile import compile_mapping
from cdpd.mapping.kit.errors import MappingFaults


class ActionSetup(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """An action in the configuration. It replaces the presets of that action."""

    action: str
    """Which one: a name from `cdpd plugins show`."""
    name: str = ""
    """What status, trace and parked events call it. Default: the action's title."""
    when: str | None = None
    """Which events: a trigger, like `type = "track" and event = "Signed Up"`. Default: the action's own."""
    mapping: dict[str, Any] = {}
    """Field → where its value comes from, laid over the action's own mapping, field by field."""
    without: list[str] = []
    """Fields whose own mapping is not wanted."""
    enabled: bool = True
    """False: as if it were not there; presets of the action stay away too."""


class ActionsConfig(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Options of every destination that is made of actions."""

    actions: list[ActionSetup] = field(default_factory=list)
    """Actions as you want them. Those that are not named here run as in the presets."""
    presets: bool = True
    """False: nothing but `actions` runs."""


class Wanted(Struct, frozen=True):
    """A mapping to be: an action with its trigger and the directives of its fields."""

    name: str
    action: Action
    trigger: str | None
    mapping: Mapping[str, Any]
    at: int | None = None
    """Its number in `actions`; None: a preset."""


def wanted(actions: Sequence[Action], presets: Sequence[Preset], config: ActionsConfig) -> list[Wanted]:
    """Every mapping that is to run, presets first, each with a name of its own; unknown actions are left out."""
    known = {action.name: action for action in actions}
    named = {setup.action for setup in config.actions}
    found = []
    if config.presets:
        for preset in presets:
            if preset.action.name not in named:
                trigger = preset.trigger or preset.action.trigger
                mapping = {**defaults_of(preset.action.payload), **preset.mapping}
                found.append(Wanted(preset.title, preset.action, trigger, mapping))
    for at, setup in enumerate(config.actions):
        action = known.get(setup.action)
        if action is not None and setup.enabled:
            trigger = action.trigger if setup.when is None else setup.when
            mapping = {**defaults_of(action.payload), **setup.mapping}
            for name in setup.without:
                mapping.pop(name, None)
            found.append(Wanted(setup.name or action.title, action, trigger, mapping, at))
    return list(_told_apart(found))


def _told_apart(found: Iterable[Wanted]) -> Iterator[Wanted]:
    taken: set[str] = set()
    for each in found:
        name, n = each.name, 1
        while name in taken:
            n += 1
            name = f"{each.name} ({n})"
        taken.add(name)
        yield Wanted(name, each.action, each.trigger, each.mapping, each.at)


def problems_of(
    actions: Sequence[Action], presets: Sequence[Preset], config: ActionsConfig
) -> Iterator[Problem]:
    """Everything wrong in `actions` and `presets`."""
    known = {action.name for action in actions}
    for at, setup in enumerate(config.actions):
        if setup.action not in known:
            hint = did_you_mean(setup.action, known) or f"it has: {', '.join(sorted(known))}"
            yield Problem(("actions", at, "action"), f"there is no action {setup.action!r}", hint)
    running = wanted(actions, presets, config)
    if len(running) > MOST_MAPPINGS:
        yield Problem(
            ("actions",), f"a destination has at most {MOST_MAPPINGS} mappings, here are {len(running)}"
        )
    if not running and not config.actions:
        yield Problem(
            ("actions",), "nothing is ever sent: it has no presets", "add a [[destinations.NAME.actions]]"
        )
    for each in running:
        if each.at is not None:
            yield from _problems_of(each, config.actions[each.at])


def _problems_of(each: Wanted, setup: ActionSetup) -> Iterator[Problem]:
    path: tuple[str | int, ...] = ("actions", each.at or 0)
    if each.trigger is None:
        yield Problem(
            (*path, "action"), f"the action {each.action.name} has no trigger of its own", "add `when`"
        )
    elif setup.when is not None:
        try:
            compile_trigger(setup.when)
        except FqlSyntaxError as error:
            yield Problem((*path, "when"), str(error))
    fields = fields_of(each.action.payload)
    for name in (*setup.mapping, *setup.without):
        if name not in fields:
            where = (*path, "mapping", name) if name in setup.mapping else (*path, "without")
            hint = did_you_mean(name, fields) or f"it has: {', '.join(sorted(fields))}"
            yield Problem(where, f"the action {each.action.name} has no field {name!r}", hint)
    for name, each_field in fields.items():
        if each_field.required is True and name not in each.mapping:
            hint = "say where its value comes from in `mapping`"
            yield Problem(path, f"the action {each.action.name} needs the field {name!r}", hint)
    try:
        compile_mapping(setup.mapping)
    except MappingFaults as error:
        for fault in error.faults:
            yield Problem((*path, "mapping"), str(fault))
