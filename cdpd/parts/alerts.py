"""`cdpd alerts` on the control socket: how alerts stand, and a test message through the channels of one."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.alerts.alerts import Alerts
from cdpd.config.problem import did_you_mean
from cdpd.control.contract import Calls, CannotDo

LIST: Final = "GET /alerts"
TEST: Final = "POST /alerts/test"


class TestRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body of TEST."""

    alert: str


def alert_calls(alerts: Alerts) -> Calls:
    """LIST answers as cdpd/alerts/report.py says; TEST with `sent`: what became of it in each channel."""

    async def listed(_: bytes) -> dict[str, Any]:
        return alerts.report.whole()

    async def test(body: bytes) -> dict[str, Any]:
        name = msgspec.json.decode(body, type=TestRequest).alert
        known = alerts.report.alerts
        if name not in known:
            hint = did_you_mean(name, known) or f"there are: {', '.join(known) or 'none'}"
            raise CannotDo(f"there is no alert {name!r} in the configuration that runs; {hint}")
        return {
            "alert": name,
            "sent": [
                {"channel": channel, **msgspec.to_builtins(told), "seconds": round(seconds, 3)}
                for channel, told, seconds in await alerts.test(name)
            ],
        }

    return {LIST: listed, TEST: test}
