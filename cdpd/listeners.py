"""Where the daemon takes requests, with which certificate, and what clients are told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from cdpd import discovery
from cdpd.config.address import Listen, listens, parse_mode
from cdpd.config.load import LoadedConfig
from cdpd.config.model import Config
from cdpd.ingest.browser_library import BrowserLibrary
from cdpd.ingest.device_mode import client_settings
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.server import serve
from cdpd.ingest.settings import IngestSettings
from cdpd.ingest.sockets import Listening
from cdpd.ingest.tls import Tls


class Listeners:
    """The daemon's. Sockets from systemd (`handed`) are all there is, where there are some; else `--listen`
    (`given`), else the configuration's."""

    def __init__(
        self, handed: Sequence[Listening] = (), given: Sequence[str] = (), *, settled: bool | None = None
    ) -> None:
        """`settled`: what the configuration says of addresses does not count; as a rule because others are named."""
        self.bound: list[Listen] = []
        """As they are bound; empty before and after."""
        self._handed = handed
        self._given = given
        self.settled = bool(handed or given) if settled is None else settled
        self._tls: Tls | None = None

    @property
    def urls(self) -> list[str]:
        """How clients on this machine reach it."""
        return [listen.url for listen in self.bound]

    @asynccontextmanager
    async def serve(self, ingest: Ingest, loaded: LoadedConfig) -> AsyncIterator[None]:
        """Take requests inside the `with`. Raises ListenError."""
        http = loaded.config.http
        self._tls = None if loaded.certificate is None else Tls(loaded.certificate)
        async with serve(
            ingest,
            [] if self._handed else listens(self._given or http.listen),
            handed=self._handed,
            tls=self._tls,
            unix_mode=parse_mode(http.unix_mode),
        ) as self.bound:
            yield

    def apply(self, loaded: LoadedConfig) -> None:
        """Show a new certificate in every handshake from now on."""
        if self._tls is not None and loaded.certificate is not None:
            self._tls.apply(loaded.certificate)

    def restart_needed(self, before: Config, after: Config) -> list[str]:
        """What a reload to `after` cannot change."""
        needed = [
            key for key in ("listen", "unix_mode") if getattr(before.http, key) != getattr(after.http, key)
        ]
        if self.settled:
            needed = []  # what the configuration says of it does not count
        if (self._tls is None) != (after.http.tls is None):
            needed.append("tls")
        return [f"http.{key}" for key in needed]

    def settings(self, loaded: LoadedConfig, library: BrowserLibrary | None) -> IngestSettings:
        """Without a public_url, browsers on this machine are told the address that we listen on.

        An SDK that finds no address in the settings document sends to its vendor (wire.md §4).
        """
        settings = IngestSettings.of(
            loaded.config, loaded.config_id, library, client_settings(loaded.config, discovery)
        )
        near = [listen for listen in self.bound if not listen.path and not listen.public]
        if settings.api_host is None and near and not any(listen.public for listen in self.bound):
            protocol, _, host = near[0].url.partition("://")
            settings = msgspec.structs.replace(settings, api_host=f"{host}/v1", protocol=protocol)
        return settings

    @property
    def certificate_ends(self) -> int | None:
        """When the certificate that is shown expires, in seconds since the epoch; None without one."""
        return None if self._tls is None else self._tls.files.ends

    def status(self) -> dict[str, Any]:
        """`listen`, and `certificate` with its `expires`."""
        told: dict[str, Any] = {"listen": self.urls}
        if self._tls is not None:
            files = self._tls.files
            ends = datetime.fromtimestamp(files.ends, UTC).isoformat().replace("+00:00", "Z")
            told["certificate"] = {"from": files.name, "expires": ends}
        return told
