"""A hook plugin as the chain runs it: made, checked against the contract, its hooks taken out one by one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pluggy
import structlog
from msgspec import Struct
from pluggy import HookImpl

from cdpd import hookspecs
from cdpd.config.decode import decode
from cdpd.config.plugin_options import Installed
from cdpd.config.problem import did_you_mean
from cdpd.event import Event, Position, Violation
from cdpd.hookspecs import PROJECT, Discard
from cdpd.plugins import Plugin, PluginEnv, Source

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

_SPECS: Final = tuple(name for name in vars(hookspecs) if name.startswith("cdpd_"))
_MAY_BE_ASYNC: Final = ("cdpd_prepare", "cdpd_startup", "cdpd_shutdown")

RAISED: Final = (Exception, SystemExit, asyncio.CancelledError)
"""What a stranger's code that does not wait may raise; cancelling us is never behind it."""


class HookError(Exception):
    """A plugin that cannot be used: which one, why, and what to do. Found when a chain is built or started."""


class Instance(Struct, eq=False):
    """A plugin of the configuration, ready to run. A hook that it does not implement is None."""

    name: str
    kind: str
    """The plugin's name among the installed ones (`use`, or the instance's own)."""
    options: dict[str, Any]
    plugin: Any
    log: structlog.typing.FilteringBoundLogger
    startup: Callable[[], Awaitable[None] | None] | None = None
    shutdown: Callable[[], Awaitable[None] | None] | None = None
    prepare: Callable[[Sequence[Event], Source], Awaitable[None] | None] | None = None
    validate: Callable[[Event, Source], Violation | Iterable[Violation] | None] | None = None
    enrich: Callable[[Event, Source], None] | None = None
    filter: Callable[[Event, Source], Discard | None] | None = None
    committed: Callable[[Sequence[Event], Position], None] | None = None
    routes: Callable[[], Iterable[AbstractRouteDef] | None] | None = None
    takes_objects: bool = False
    started: bool = False


def make_instance(
    name: str, kind: str, options: dict[str, Any], found: Installed, env: Callable[[str], PluginEnv]
) -> Instance:
    """Import, configure and check a plugin. Raises HookError."""
    where = f"hook {name!r} of {found.distribution}"
    try:
        plugin_class = found.load()
    except RAISED as error:
        raise HookError(f"{where} cannot be loaded: {_reason(error)}") from error
    if not (isinstance(plugin_class, type) and issubclass(plugin_class, Plugin)):
        raise HookError(f"{where} is no plugin: a class on cdpd.plugins.Plugin is expected")
    try:
        config = msgspec.convert(options, plugin_class.Config, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise HookError(f"[hooks.{name}]: {error}") from error
    own = env(name)
    try:
        plugin = plugin_class(config, own)
    except RAISED as error:
        raise HookError(f"{where} cannot be made: {_reason(error)}") from error
    instance = Instance(name, kind, options, plugin, own.log, takes_objects=bool(plugin.takes_objects))
    for spec, call in _hooks(plugin, where).items():
        setattr(instance, spec.removeprefix("cdpd_"), call)
    return instance


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _hooks(plugin: Plugin, where: str) -> dict[str, Callable[..., Any]]:
    """The plugin's implementations by the name of their hook, each taking all arguments of its hook."""
    for name in dir(type(plugin)):
        own = getattr(type(plugin), name)
        if name.startswith("cdpd_") and callable(own) and not hasattr(own, f"{PROJECT}_impl"):
            raise HookError(f"{where}: {name} is not marked as a hook: put @hookimpl above it")
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as error:
        raise HookError(f"{where} does not fit cdpd.hookspecs: {_one_line(error)}") from error
    calls: dict[str, Callable[..., Any]] = {}
    for caller in manager.get_hookcallers(plugin) or ():
        if caller.name not in _SPECS:
            hint = did_you_mean(caller.name, _SPECS) or f"there are {', '.join(_SPECS)}"
            raise HookError(f"{where}: there is no hook {caller.name}; {hint}")
        for found in caller.get_hookimpls():
            calls[caller.name] = _checked(caller.name, found, where)
    return calls


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _checked(name: str, found: HookImpl, where: str) -> Callable[..., Any]:
    if found.hookwrapper or found.wrapper:
        raise HookError(f"{where}: {name} is a hook wrapper, which the chain does not call: use a plain hook")
    if found.tryfirst or found.trylast:
        option = "tryfirst" if found.tryfirst else "trylast"
        raise HookError(f"{where}: {name} asks for {option}; the order of hooks is the configuration's alone")
    function = found.function
    if name not in _MAY_BE_ASYNC and (
        inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    ):
        raise HookError(
            f"{where}: {name} is async, which only {', '.join(_MAY_BE_ASYNC)} may be: "
            "look up in cdpd_prepare what it needs"
        )
    wanted = tuple(inspect.signature(getattr(hookspecs, name)).parameters)
    return _taking_all(function, wanted, found.argnames)


def _taking_all(
    function: Callable[..., Any], wanted: tuple[str, ...], taken: Sequence[str]
) -> Callable[..., Any]:
    """A function of all arguments of the hook, for one that leaves some out or has another order."""
    taken = tuple(taken)
    if taken == wanted:
        return function
    if not taken:
        return lambda *_: function()
    if taken == wanted[:1]:
        return lambda first, _: function(first)
    if taken == wanted[1:]:
        return lambda _, second: function(second)
    return lambda first, second: function(second, first)
