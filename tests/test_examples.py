"""Third-party packages, as their authors would ship them: pip-installed into a fresh environment, and run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web

from tests.running import key_header, roles, running

ROOT = Path(__file__).parent.parent
PLUGINS = ROOT / "plugins"
EXAMPLES = ROOT / "tests" / "examples"
CONFIG = """
[sources.shop]
write_keys = ["wk_examples_shop"]

[pipeline]
hooks = ["spec", "dedup", "accounts"]

[hooks.accounts]
path = "{accounts}"

[destinations.sales]
type = "chat"
url = "{url}"
"""


def installed(folder: Path) -> str:
    """The Python of a fresh environment with cdpd, its plugins and the example packages: all in one resolution."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    folders = sorted(path.parent for room in (PLUGINS, EXAMPLES) for path in room.glob("*/pyproject.toml"))
    packages = [str(ROOT), *map(str, folders)]
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True, cwd=folder)
    return python


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return installed(tmp_path_factory.mktemp("environment") / "venv")


@pytest.mark.parametrize(
    "groups", [[], [["ingest"], ["process"], ["deliver"]]], ids=["one process", "several"]
)
async def test_a_hook_package_and_a_destination_package_work_in_a_fresh_environment(
    tmp_path: Path, python: str, groups: list[list[str]]
) -> None:
    (tmp_path / "accounts.csv").write_text("user,account,state\nu1,ACME,open\nu2,Gone Ltd,closed\n")
    told: list[object] = []
    enough = anyio.Event()

    async def channel(request: web.Request) -> web.Response:
        told.append(await request.json())
        if len(told) == 2:
            enough.set()
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/channel", channel)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    config = CONFIG.format(accounts=tmp_path / "accounts.csv", url=f"http://{host}:{port}/channel")
    config += roles(groups)
    async with running(tmp_path / "run", config, python=python) as daemon, aiohttp.ClientSession() as client:
        for number, user in enumerate(["u1", "u2", "u3"]):
            body = {"event": "Sold", "userId": user, "messageId": f"m{number}"}
            async with client.post(
                f"{daemon.url}/v1/track", data=json.dumps(body), headers=key_header("wk_examples_shop")
            ) as answer:
                assert answer.status == 200
        with anyio.fail_after(30):
            await enough.wait()
        async with client.get(f"{daemon.url}/-/accounts/stored") as answer:
            assert await answer.json() == {"ACME": 1, "none": 1}
        events = daemon.lines("events")
        assert [event["context"]["account"] for event in events] == ["ACME", None]
        (discarded,) = daemon.lines("discarded")
        assert (discarded["by"], discarded["code"]) == ("accounts", "account_closed")
        assert told == [{"text": "u1: Sold (ACME)"}, {"text": "u3: Sold"}]
        counted = await anyio.run_process(
            [python, "-P", "-m", "cdpd", "accounts", str(tmp_path / "accounts.csv")], cwd=tmp_path
        )
        assert counted.stdout.split() == [b"2"]
        listed = await anyio.run_process([python, "-P", "-m", "cdpd", "plugins", "--json"], cwd=tmp_path)
        names = {(p["name"], p["distribution"]) for p in json.loads(listed.stdout)["plugins"]}
        assert {("accounts", "cdpd-accounts"), ("chat", "cdpd-chat")} <= names
        assert {path.name for path in PLUGINS.iterdir() if (path / "pyproject.toml").is_file()} <= {
            distribution.removeprefix("cdpd-") for _, distribution in names
        }
        assert await daemon.stop() == 0
    state = tmp_path / "run" / "data"
    assert next(state.rglob("stored.txt")).read_text() == "2\n"
    await runner.cleanup()
