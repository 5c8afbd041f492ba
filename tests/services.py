"""Programs that some tests need: found, or the test is skipped with the reason; with CDPD_REQUIRE=all it fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def need(found: bool, what: str) -> None:
    """Skip, or fail where CDPD_REQUIRE=all, unless `found`; `what` says what is missing and how to get it."""
    if found:
        return
    if os.environ.get("CDPD_REQUIRE") == "all":
        pytest.fail(f"CDPD_REQUIRE=all, and missing: {what}", pytrace=False)
    pytest.skip(f"missing: {what}")


def program(name: str) -> str:
    """The path of a program of a Debian package of the same name."""
    found = shutil.which(name)
    need(found is not None, f"the program {name} (apt-get install {name})")
    assert found is not None
    return found


def node_modules() -> Path:
    """The npm packages that the tests use, kept outside the checkout by `.ci/run`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("CDPD_TEST_NODE_MODULES") or cache / "cdpd-tests" / "npm" / "node_modules")
    need(folder.is_dir(), f"npm packages in {folder} (bash .ci/node installs them)")
    return folder
