"""plugins/README.md: every block, run in the order of the text, in an empty folder with nothing but cdpd installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import Struct

from tests.services import need

from .test_packages import PACKAGES, ROOT

README = ROOT / "plugins" / "README.md"
_BLOCK = re.compile(r"(?:<!-- (?P<what>.+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)


class Block(Struct, frozen=True):
    what: str
    """`run`, `fails`, `prints`, or `write: PATH`."""
    language: str
    text: str


def blocks() -> list[Block]:
    found = _BLOCK.finditer(README.read_text())
    return [Block(match["what"] or "", match["language"], match["text"]) for match in found]


def test_no_block_is_there_to_be_looked_at_only() -> None:
    for block in blocks():
        assert re.fullmatch(r"run|fails|prints|write: \S+", block.what), block


def test_every_package_is_in_the_table() -> None:
    text = README.read_text()
    assert [
        package.name for package in PACKAGES if f"[cdpd-{package.name}]({package.name})" not in text
    ] == []


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a shell whose first Python has cdpd installed, and nothing else."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    done = subprocess.run(
        [venv / "bin" / "pip", "install", "-q", ROOT], capture_output=True, text=True, check=False
    )
    need("ERROR: Could not find a version" not in done.stderr, "a package index that pip can reach")
    assert done.returncode == 0, done.stderr
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "XDG_", "LANG"))}
    return {**kept, "HOME": str(Path.home()), "PATH": f"{venv / 'bin'}:{os.environ['PATH']}"}


def test_from_nothing_to_a_published_package(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "afternoon"
    folder.mkdir()
    written: dict[str, str] = {}
    said = ""
    for block in blocks():
        if block.what.startswith("write: "):
            path = block.what.removeprefix("write: ")
            written[path] = "\n\n".join([written[path], block.text]) if path in written else block.text
            (folder / path).write_text(written[path])
            (folder / path).chmod(0o600)
        elif block.what == "prints":
            lines = [line.strip() for line in said.splitlines()]
            for line in block.text.splitlines():
                assert line.strip() in lines, f"{line!r} is not in:\n{said}"
        else:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                cwd=folder, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            said = done.stdout + done.stderr
            assert (done.returncode == 0) == (block.what == "run"), f"{block.text}\n{said}"
    assert "# radio" in (folder / "cdpd-radio" / "REFERENCE.md").read_text()
    assert "a-key" not in said
    check_code(folder / "cdpd-radio")


def check_code(package: Path) -> None:
    """What the guide makes people write is typed, and has no fault that a linter finds."""
    for command in (["ruff", "check", "."], ["mypy", "--strict", "cdpd_radio"]):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=package, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
