"""Calls of the control API that one process of several answers: passed on to it, and its answer or refusal back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from cdpd.bring.receiving import DESCRIBE, TAKE
from cdpd.config.problem import ConfigError
from cdpd.config.roles import Role
from cdpd.control.client import ControlClient, ControlRefused, NotRunning
from cdpd.control.contract import Busy, Calls, CannotDo
from cdpd.oauth.calls import LIST, REVOKE
from cdpd.parts.alerts import LIST as LIST_ALERTS
from cdpd.parts.alerts import TEST as TEST_ALERT
from cdpd.parts.destinations import FORGET
from cdpd.parts.destinations import LIST as DESTINATIONS
from cdpd.parts.ingest import SOURCES
from cdpd.parts.jobs import JOB_CALLS
from cdpd.parts.parked import DROP
from cdpd.parts.pause import PAUSE, RESUME
from cdpd.parts.reset import RESET
from cdpd.roles.process import RoleProcess

ANSWERED_BY: Final[Mapping[str, Role]] = {
    **dict.fromkeys((SOURCES, DESCRIBE, TAKE, LIST, REVOKE), "ingest"),
    **dict.fromkeys((LIST_ALERTS, TEST_ALERT), "deliver"),
    **dict.fromkeys(JOB_CALLS, "deliver"),
    **dict.fromkeys((RESET, FORGET, PAUSE, RESUME, DROP, DESTINATIONS), "deliver"),
}
"""Call → the role of the process that answers it."""
_LONG: Final = {DROP: 3600.0, FORGET: 3600.0}
"""Call → seconds that it may take where it goes through many rows."""


def forwarded(process: Callable[[Role], RoleProcess]) -> Calls:
    """The calls, for a supervisor that knows which process has a role."""

    async def forward(name: str, role: Role, body: bytes) -> dict[str, Any]:
        return await passed_on(
            process(role), lambda client: client.call(name, body or None), _LONG.get(name, 60.0)
        )

    return {name: partial(forward, name, role) for name, role in ANSWERED_BY.items()}


async def passed_on(
    process: RoleProcess, call: Callable[[ControlClient], dict[str, Any]], seconds: float = 60.0
) -> dict[str, Any]:
    """Its answer. Raises what the control API makes the same refusal of (cdpd/control/server.py)."""
    try:
        return await process.ask(call, seconds)
    except NotRunning as error:
        raise Busy(
            f'the process "{process.name}" does not answer at the moment ({process.state}): try again'
        ) from error
    except ControlRefused as refused:
        if refused.code == "config_invalid":
            raise ConfigError(refused.problems) from refused
        if refused.code == "busy":
            raise Busy(str(refused)) from refused
        if refused.code == "bad_request":
            raise msgspec.ValidationError(str(refused)) from refused
        raise CannotDo(str(refused)) from refused
