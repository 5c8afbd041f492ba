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


def program(name: str, package: str = "") -> str:
    """The path of a program of a Debian package, of the same name where none is given."""
    found = shutil.which(name)
    need(found is not None, f"the program {name} (apt-get install {package or name})")
    assert found is not None
    return found


def cache() -> Path:
    """Where `.ci/run` keeps what tests need from elsewhere: outside the checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cdpd-tests"


def node_modules() -> Path:
    """The npm packages that the tests use."""
    folder = Path(os.environ.get("CDPD_TEST_NODE_MODULES") or cache() / "npm" / "node_modules")
    need(folder.is_dir(), f"npm packages in {folder} (bash .ci/node installs them)")
    return folder


def java_jars() -> Path:
    """The jars of the Java SDK and of what it needs."""
    folder = cache() / "java" / "jars"
    need(folder.is_dir(), f"jars in {folder} (bash .ci/java fetches them)")
    return folder
