"""Making a destination of its configuration: the class found and loaded, its options typed, its session opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.data_folder import plugin_folder
from cdpd.config.decode import decode
from cdpd.config.plugin_options import Catalogue
from cdpd.destinations.contract import Destination, DestinationConfig, DestinationEnv
from cdpd.functions.insert import destination_insert

if TYPE_CHECKING:
    import aiohttp

CONNECT: Final = 5.0
"""Seconds to connect (spec/destinations.md §0.3)."""
CONNECTIONS: Final = 32
"""Connections of one destination, at most."""


class DestinationError(Exception):
    """A destination that cannot be made from its configuration, or is not there."""


class Made(Struct, frozen=True):
    """A destination's class and its typed options: two of them are equal where nothing changed."""

    kind: type[Destination]
    config: DestinationConfig


class Maker:
    """Makes destinations of `[destinations.NAME]` sections."""

    def __init__(
        self,
        catalogue: Catalogue,
        data_dir: Path,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._catalogue = catalogue
        self._data_dir = data_dir
        self._clock = clock
        self._log = log

    def read(self, name: str, options: dict[str, Any]) -> Made:
        """Its class and options. Raises DestinationError."""
        kind_name = str(options.get("type", name))
        found = self._catalogue.destinations().get(kind_name)
        if found is None:
            raise DestinationError(f"destinations.{name}: there is no destination {kind_name!r}")
        try:
            kind: type[Destination] = found.load()
        except Exception as error:
            raise DestinationError(
                f"destinations.{name}: its package {found.distribution} cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error
        try:
            config = msgspec.convert(options, kind.Config, dec_hook=decode)
        except msgspec.ValidationError as error:
            raise DestinationError(f"destinations.{name}: {error}") from None
        return Made(kind, config)

    @asynccontextmanager
    async def instance(self, name: str, made: Made) -> AsyncIterator[Destination]:
        """The destination itself, with connections of its own inside the `with`; whoever uses it starts it."""
        folder, log = plugin_folder(self._data_dir, name), self._log.bind(destination=name)
        async with (
            _session(made.config) as session,
            destination_insert(name, made.config, folder, self._clock, log) as insert,
        ):
            env = DestinationEnv(
                name=name,
                http=session,
                state_dir=folder,
                clock=self._clock,
                log=log,
                insert=insert,
            )
            yield made.kind(made.config, env)


def _session(config: DestinationConfig) -> aiohttp.ClientSession:
    import aiohttp  # takes long: commands read destinations without opening a session

    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=config.timeout, connect=min(CONNECT, config.timeout)),
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"cdpd/{version('cdpd-daemon')}"},
    )
