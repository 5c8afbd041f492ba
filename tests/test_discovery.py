"""Discovery: plugins are found by entry point, imported late, and a name is never taken by two."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cdpd import discovery


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages in front of all others."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(site: Path, package: str, version: str, points: str, module: str = "", code: str = "") -> None:
    """What pip leaves behind of a package, as far as discovery reads it."""
    info = site / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(points)
    if module:
        (site / f"{module}.py").write_text(code)


def test_an_installed_hook_is_found_and_imported_only_when_loaded(site: Path) -> None:
    points = "[cdpd.hooks]\nfor_discovery = mod_for_discovery:Hook\n"
    install(site, "cdpd-fd", "1.2", points, "mod_for_discovery", "class Hook: pass\n")
    found = discovery.hooks()["for_discovery"]
    assert (found.distribution, found.version, found.value) == ("cdpd-fd", "1.2", "mod_for_discovery:Hook")
    assert "mod_for_discovery" not in sys.modules
    try:
        assert found.load().__name__ == "Hook"
    finally:
        sys.modules.pop("mod_for_discovery", None)


def test_a_name_that_two_packages_offer_is_listed_with_both_and_cannot_be_loaded(site: Path) -> None:
    install(site, "cdpd-one", "1.0", "[cdpd.hooks]\nclash = one:Hook\n")
    install(site, "cdpd-two", "2.0", "[cdpd.hooks]\nclash = two:Hook\n")
    found = discovery.hooks()["clash"]
    assert (found.distribution, found.version) == ("cdpd-one, cdpd-two", "1.0, 2.0")
    with pytest.raises(discovery.NameTaken, match=r"the hook 'clash' is offered by 2 packages"):
        found.load()


def test_a_name_of_ours_cannot_be_taken_over_silently(site: Path) -> None:
    install(site, "cdpd-other", "1.0", "[cdpd.destinations]\nwebhook = other:Webhook\n")
    with pytest.raises(discovery.NameTaken, match="cdpd-daemon, cdpd-other"):
        discovery.destinations()["webhook"].load()


def test_the_groups_do_not_mix(site: Path) -> None:
    install(site, "cdpd-cmd", "1.0", "[cdpd.commands]\nfd_command = fd:app\n")
    assert discovery.commands()["fd_command"].group == "cdpd.commands"
    assert "fd_command" not in {**discovery.hooks(), **discovery.destinations()}
    assert {"spec", "dedup", "ip", "drop", "user_agent", "geo", "bots", "sample"} <= discovery.hooks().keys()
