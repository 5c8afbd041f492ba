"""The README's commands, run as a newcomer would paste them: in a clean clone, with nothing installed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream

from tests.services import program

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PATIENCE = 180.0


def block(name: str) -> str:
    """The commands under `<!-- name -->`."""
    found = re.search(rf"<!-- {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md has no block {name!r}"
    return found[1]


async def shell(command: str, folder: Path) -> str:
    done = await anyio.run_process(["bash", "-euc", command], cwd=folder)
    return done.stdout.decode()


@pytest.fixture
async def clone(tmp_path: Path) -> Path:
    """A clean clone: what git knows of this checkout, as it is now."""
    program("git")
    folder = tmp_path / "cdpd"
    await shell(f"git clone -q {shlex.quote(str(ROOT))} {shlex.quote(str(folder))}", tmp_path)
    changed = await shell("git ls-files -m -o --exclude-standard", ROOT)
    for name in changed.splitlines():
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        else:
            target.unlink(missing_ok=True)
    return folder


async def test_the_first_five_minutes_work_as_written(clone: Path) -> None:
    program("zstd"), program("jq"), program("curl")
    run = block("run").strip()
    assert run.endswith(".venv/bin/cdpd run")
    said = ""
    # Another port than the default, which something on this machine may use; the rest is as written.
    command = ["bash", "-c", f"{run} --listen 127.0.0.1:0"]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    async with await anyio.open_process(command, cwd=clone, env=environ, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            output = TextReceiveStream(process.stdout)
            with anyio.fail_after(PATIENCE):
                while "It is printed here" not in said:
                    said += await output.receive()
                curl = next(line.strip() for line in said.splitlines() if line.strip().startswith("curl "))
                assert json.loads(await shell(curl, clone)) == {"success": True}
                while "Signed Up" not in said.partition("It is printed here")[2]:
                    said += await output.receive()
                await follow_the_readme(clone)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            await process.wait()


async def follow_the_readme(clone: Path) -> None:
    commands = [line.partition("  #")[0].rstrip() for line in block("first five minutes").splitlines()]
    tail, query, status, archive = commands
    assert "Signed Up" in await shell(f"{tail} | head -n 1", clone)
    answer = await shell(query, clone)
    assert re.search(r"Signed Up\W+1\b", answer), answer
    assert "running" in await shell(status, clone)
    (event,) = [
        json.loads(line) for line in (await shell(archive.replace("jq .", "jq -c ."), clone)).splitlines()
    ]
    assert (event["type"], event["event"], event["userId"]) == ("track", "Signed Up", "u1")


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    (command,) = block("test").splitlines()
    assert command.startswith("python3 -m venv .venv && ")
    assert command.endswith(".venv/bin/pytest")
    assert "<!-- test -->" in (ROOT / ".ci" / "run").read_text()
