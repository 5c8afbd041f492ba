"""SDKs as programs: each makes the six calls against a host and says what went wrong.

A program takes its settings as one JSON argument, `{"host", "writeKey", "retries": beyond the first attempt, "timeout":
seconds, "gzip", "oauth"?}`, and prints `{"errors": [text, …]}`: what the SDK told its user, one for each event or batch
that it dropped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
from msgspec import Struct

from tests.running import PATIENCE
from tests.services import java_jars, node_modules, program

HERE = Path(__file__).parent
KEY = "wk_tests_clients"
CONFIG = f"""
[sources.website]
write_keys = ["{KEY}"]
"""


class Sdk(Struct, frozen=True):
    """One SDK, as a command that takes the settings as its last argument."""

    command: list[str]
    retry_after_is_free: bool = False
    """An answer with a Retry-After does not count towards the SDK's retries."""
    retries_timeouts: bool = True
    """A batch whose answer does not come in time is sent again."""

    async def six_calls(
        self,
        host: str,
        key: str = KEY,
        *,
        retries: int = 3,
        patience: int = 10,
        gzip: bool = True,
        oauth: dict[str, str] | None = None,
    ) -> list[str]:
        """Make the calls and wait until each event was taken or given up; what the SDK reports.

        `patience`: seconds that it waits for an answer.
        """
        settings = {"host": host, "writeKey": key, "retries": retries, "timeout": patience, "gzip": gzip}
        done = await run([*self.command, json.dumps({**settings, **({"oauth": oauth} if oauth else {})})])
        found: list[str] = done["errors"]
        return found


async def run(command: list[str], ends_with: int = 0) -> dict[str, Any]:
    """What a client's program printed as JSON; it must end by itself, with that exit code."""
    direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(command, check=False, env=direct)
    said = f"{command[:2]} ended with {done.returncode}: {done.stdout.decode()}{done.stderr.decode()}"
    assert done.returncode == ends_with, said
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def segment_node() -> Sdk:
    command = [program("node"), str(HERE / "six_segment_node.mjs"), str(node_modules())]
    return Sdk(command, retry_after_is_free=True)


def rudder_node() -> Sdk:
    command = [program("node"), str(HERE / "six_rudder_node.mjs"), str(node_modules())]
    return Sdk(command, retries_timeouts=False)


def segment_python() -> Sdk:
    return Sdk([sys.executable, str(HERE / "six_segment_python.py")], retry_after_is_free=True)


def rudder_python() -> Sdk:
    return Sdk([sys.executable, str(HERE / "six_rudder_python.py")])


def segment_java(classes: Path) -> Sdk:
    """`classes`: an empty folder for the compiled program."""
    java, javac = program("java", "default-jdk-headless"), program("javac", "default-jdk-headless")
    jars = f"{java_jars()}/*"
    compile_it = [javac, "-encoding", "UTF-8", "-cp", jars, "-d", str(classes), str(HERE / "SixCalls.java")]
    subprocess.run(compile_it, check=True, timeout=2 * PATIENCE)
    return Sdk([java, "-cp", f"{classes}:{jars}", "SixCalls"])
