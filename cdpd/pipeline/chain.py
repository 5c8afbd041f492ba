"""Chains: the hook plugins of a configuration, and for each source the order in which they run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from cdpd.config.model import Config
from cdpd.config.plugin_options import Catalogue
from cdpd.foreign import ends_us
from cdpd.pipeline.instance import RAISED, HookError, Instance, make_instance
from cdpd.plugins import PluginEnv, Source

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

__all__ = ["Chain", "Chains", "HookError", "Instance"]


class Chain(Struct, frozen=True):
    """A source and its hooks, in order."""

    source: Source
    hooks: list[Instance]


class Chains:
    """Made by `build`; `startup` before the first event, `shutdown` after the last."""

    def __init__(self, instances: dict[str, Instance], sources: dict[str, Chain]) -> None:
        self.instances = instances
        """By name, in the order of their first mention."""
        self.sources = sources
        """By the source's name."""

    @classmethod
    def build(
        cls,
        config: Config,
        catalogue: Catalogue,
        env: Callable[[str], PluginEnv],
        previous: Chains | None = None,
    ) -> Self:
        """The chains of a configuration. An instance whose plugin and options did not change is `previous`'s.

        Raises HookError for a plugin that is not there, cannot be loaded or breaks the contract.
        """
        installed = catalogue.hooks()
        lists = [config.pipeline.hooks, *(s.hooks for s in config.sources.values() if s.hooks is not None)]
        instances: dict[str, Instance] = {}
        for name in dict.fromkeys(name for names in lists for name in names):
            options = dict(config.hooks.get(name, {}))
            kind = options.pop("use", name)
            before = previous.instances.get(name) if previous is not None else None
            if before is not None and (before.kind, before.options) == (kind, options):
                instances[name] = before
                continue
            if kind not in installed:
                raise HookError(f"there is no hook {kind!r}; `cdpd plugins` lists those installed")
            instances[name] = make_instance(name, kind, options, installed[kind], env)
        sources = {
            name: Chain(
                Source(name, source.type, source.labels),
                [
                    instances[hook]
                    for hook in (config.pipeline.hooks if source.hooks is None else source.hooks)
                ],
            )
            for name, source in config.sources.items()
        }
        return cls(instances, sources)

    def of(self, source: str) -> Chain | None:
        """A source's chain; None where the source is not configured."""
        return self.sources.get(source)

    def without(self, names: Container[str]) -> Self:
        """The same instances but those; for what has not been started."""
        return type(self)(
            {name: instance for name, instance in self.instances.items() if name not in names},
            {
                name: Chain(chain.source, [hook for hook in chain.hooks if hook.name not in names])
                for name, chain in self.sources.items()
            },
        )

    async def startup(self) -> None:
        """Start every instance that does not run yet. Raises HookError; what it started is then stopped again."""
        begun: list[Instance] = []
        for instance in self.instances.values():
            if instance.started:
                continue
            try:
                if instance.startup is not None:
                    result = instance.startup()
                    if inspect.isawaitable(result):
                        await result
            except BaseException as error:
                if ends_us(error):
                    raise
                await _stop(begun)
                reason = f"{type(error).__name__}: {error}"
                raise HookError(f"hook {instance.name!r} did not start: {reason}") from error
            instance.started = True
            begun.append(instance)

    async def shutdown(self, keep: Chains | None = None) -> None:
        """Stop every running instance, last started first, but those that `keep` has too.

        All are stopped: one that fails is warned of, by its name, and keeps no other running.
        """
        kept = {id(instance) for instance in keep.instances.values()} if keep is not None else set()
        await _stop([i for i in self.instances.values() if i.started and id(i) not in kept])

    def routes(self) -> dict[str, list[AbstractRouteDef]]:
        """The HTTP routes of each instance that has any. Raises HookError."""
        found: dict[str, list[AbstractRouteDef]] = {}
        for instance in self.instances.values():
            if instance.routes is None:
                continue
            try:
                routes = list(instance.routes() or ())
            except RAISED as error:
                reason = f"{type(error).__name__}: {error}"
                raise HookError(f"hook {instance.name!r} cannot say its routes: {reason}") from error
            if routes:
                found[instance.name] = routes
        return found


async def _stop(instances: list[Instance]) -> None:
    """Stop them, last first. A failure is told and nothing more: what is durable is in the log already."""
    for instance in reversed(instances):
        instance.started = False
        if instance.shutdown is None:
            continue
        try:
            result = instance.shutdown()
            if inspect.isawaitable(result):
                await result
        except BaseException as error:
            if ends_us(error):
                raise
            problem = f"{type(error).__name__}: {error}"
            instance.log.warning("a hook did not stop well", plugin=instance.name, problem=problem)
