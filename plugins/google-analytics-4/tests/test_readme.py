"""The README's configurations are ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
FIRST, *MORE = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("more", ["", *MORE])
def test_the_configuration_of_the_readme_is_valid(more: str, tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    path.write_text(FIRST + "\n" + more)
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "cdpd", "check", "--config", path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "GA4_API_SECRET": "s3cret"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
