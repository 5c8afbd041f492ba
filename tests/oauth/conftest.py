"""An authorization server over a folder, on a clock that the test holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from cdpd.config.model import Config, HttpConfig, OAuthAppConfig, PublicKey
from cdpd.metrics import Metrics
from cdpd.oauth.contract import TokenAnswer
from cdpd.oauth.server import AuthorizationServer
from tests.clock import FakeClock

from .keys import form, public_pem

FORM = "application/x-www-form-urlencoded"


def app(*keys: str, **options: Any) -> OAuthAppConfig:
    """An app with the keys of these names; the first is `k1`."""
    named = [PublicKey(kid=f"k{i}", pem=public_pem(key)) for i, key in enumerate(keys or ("",), 1)]
    return OAuthAppConfig(keys=named, **options)


def config(public_url: str | None = None, **apps: OAuthAppConfig) -> Config:
    return Config(http=HttpConfig(public_url=public_url), oauth=apps or {"billing": app()})


class Rig:
    """A server that can be started again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "oauth.db"
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.addresses = ["http://127.0.0.1:8080"]
        self.log = structlog.wrap_logger(
            None, processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.said: list[dict[str, Any]] = []
        self.server = self._new()

    def _keep(self, _: object, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
        self.said.append({"level": method, **entry})
        raise structlog.DropEvent

    def _new(self) -> AuthorizationServer:
        return AuthorizationServer(
            path=self.path,
            addresses=lambda: self.addresses,
            clock=self.clock,
            metrics=self.metrics,
            log=self.log,
        )

    async def apply(self, config: Config) -> None:
        self.server.apply(await self.server.read(config))

    async def restart(self, new: Config | None = None) -> None:
        self.server.close()
        self.server = self._new()
        await self.apply(new or config())

    async def ask(self, body: bytes | None = None, content_type: str = FORM) -> TokenAnswer:
        return await self.server.token(form() if body is None else body, content_type)

    async def get(self, body: bytes | None = None) -> str:
        """A token."""
        answer = await self.ask(body)
        assert answer.status == 200, answer
        return str(answer.document["access_token"])

    def good(self, token: str) -> bool:
        return self.server.grant(token) is not None


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """With one app, `billing`, and one key, `k1`."""
    rig = Rig(tmp_path)
    await rig.apply(config())
    yield rig
    rig.server.close()
