"""Adds the account of a user to each event; users of closed accounts are turned away.

An example of a third-party plugin that uses every hook of `cdpd.hookspecs`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from aiohttp import web
from msgspec import Struct

from cdpd.event import Event, Position, Violation
from cdpd.hookspecs import Discard, hookimpl
from cdpd.plugins import Plugin, Source


class Accounts(Plugin):
    """Adds `context.account`; discards events of users whose account is closed."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        path: Path
        """A CSV file with the columns user, account and state (`open` or `closed`)."""

    @hookimpl
    async def cdpd_startup(self) -> None:
        with self.config.path.open(newline="") as file:
            self.accounts = {row["user"]: row for row in csv.DictReader(file)}
        self.found: dict[str, dict[str, str]] = {}
        self.stored: Counter[str] = Counter()

    @hookimpl
    def cdpd_shutdown(self) -> None:
        (self.state() / "stored.txt").write_text(f"{self.stored.total()}\n")

    @hookimpl
    async def cdpd_prepare(self, events: Sequence[Event]) -> None:
        # One look-up for the whole slice; in earnest this would be a query.
        users = {event.user_id for event in events if event.user_id}
        self.found = {user: self.accounts[user] for user in users if user in self.accounts}

    @hookimpl
    def cdpd_validate(self, event: Event) -> Iterable[Violation]:
        if event.user_id and event.user_id not in self.found:
            yield Violation("accounts", "account_unknown", f"user {event.user_id} is in no account", "userId")

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        account = self.found.get(event.user_id or "")
        if account is not None:
            event.context["account"] = account["account"]
        elif event.violations:
            event.context["account"] = None

    @hookimpl
    def cdpd_filter(self, event: Event, source: Source) -> Discard | None:
        account = self.found.get(event.user_id or "")
        if account is not None and account["state"] == "closed":
            return Discard("account_closed", f"{account['account']} is closed (source {source.name})")
        return None

    @hookimpl
    def cdpd_committed(self, events: Sequence[Event], position: Position) -> None:
        self.stored.update(event.context.get("account") or "none" for event in events)
        self.position = position

    @hookimpl
    def cdpd_routes(self) -> Iterable[web.AbstractRouteDef]:
        async def stored(_: web.Request) -> web.Response:
            return web.json_response(dict(self.stored))

        return [web.get("/stored", stored)]
