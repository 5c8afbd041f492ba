"""The README's commands and configuration, run as written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import anyio

from cdpd.oauth.server import APP_RATE, MOST_TOKENS, WHOLE_RATE
from tests.running import running
from tests.services import program

from .test_running import send

README = (Path(__file__).parents[2] / "cdpd" / "oauth" / "README.md").read_text()


def block(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1]


async def test_what_the_readme_says_gets_a_token(tmp_path: Path) -> None:
    program("openssl"), program("curl")
    await anyio.run_process(["bash", "-euc", block("keys")], cwd=tmp_path)
    async with running(tmp_path, block("configuration")) as daemon:
        script = block("by hand").replace('"$server/token"', '"$REACHED/token"')  # no TLS, no name: here
        done = await anyio.run_process(
            ["bash", "-euc", script], cwd=tmp_path, env={**os.environ, "REACHED": daemon.url}
        )
        answer = json.loads(done.stdout)
        assert answer["expires_in"] == 86400, answer
        assert await send(daemon, answer["access_token"], "wk_server_5b1f60c2") == 200


def test_the_readme_tells_the_limits_as_they_are() -> None:
    assert f"{APP_RATE.count} times a minute" in README
    assert f"{WHOLE_RATE.count} times" in README
    assert f"{MOST_TOKENS:,} tokens" in README
    assert APP_RATE.seconds == WHOLE_RATE.seconds == 60
