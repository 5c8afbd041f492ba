"""Every package under plugins/ is complete: found, licensed, typed, tested, and its README's configuration is right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cdpd import discovery
from cdpd.destinations.actions import ActionDestination
from cdpd.testing import cases_of
from tests.cli.conftest import Cdpd, cdpd

__all__ = ["cdpd"]

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
package = pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)


def project_of(package: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    return project


@package
def test_a_package_is_named_like_its_folder_and_depends_on_the_daemon(package: Path) -> None:
    project = project_of(package)
    assert project["name"] == f"cdpd-{package.name}"
    assert "cdpd-daemon" in [re.split(r"[^\w-]", wanted)[0] for wanted in project["dependencies"]]
    assert project["description"]
    assert project["requires-python"] == ">=3.11"


@package
def test_a_package_has_all_that_one_is_published_with(package: Path) -> None:
    module = f"cdpd_{package.name.replace('-', '_')}"
    for name in ("README.md", "LICENSE", f"{module}/__init__.py", f"{module}/py.typed"):
        assert (package / name).is_file(), name
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert project_of(package)["license-files"] == ["LICENSE"]
    assert list((package / "tests").glob("test_*.py"))


@package
def test_what_a_package_offers_is_found_and_runs_its_cases(package: Path) -> None:
    for name in project_of(package)["entry-points"]["cdpd.destinations"]:
        found = discovery.destinations()[name]
        assert found.distribution == f"cdpd-{package.name}"
        assert issubclass(found.load(), ActionDestination)
        assert cases_of(package / "tests" / "cases.json", name), "a destination has cases"


@package
def test_the_configuration_of_a_readme_is_right(
    package: Path, cdpd: Cdpd, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (package / "README.md").read_text(), re.DOTALL)
    assert blocks
    for name in re.findall(r'env = "(\w+)"', "".join(blocks)):
        monkeypatch.setenv(name, "a-secret")
    Path("cdpd.toml").write_text('[sources.web]\nwrite_keys = ["wk_readme_web"]\n' + "".join(blocks))
    ran = cdpd("check")
    assert ran.code == 0, ran.err
