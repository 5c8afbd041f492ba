"""cdpd/destinations/README.md: its configurations are right, and come to what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdpd import discovery
from tests.cli.conftest import Cdpd, cdpd
from tests.services import need

__all__ = ["cdpd"]

ROOT = Path(__file__).parents[2]
README = (ROOT / "cdpd" / "destinations" / "README.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```\n\n```console\n\$ (.*?)\n(.*?)```", README, re.DOTALL)
SOURCE = '[sources.web]\nwrite_keys = ["wk_readme_web"]\n'


def test_every_configuration_is_tried() -> None:
    assert len(EXAMPLES) == README.count("```toml") == README.count("```console")


@pytest.mark.parametrize(("config", "command", "output"), EXAMPLES)
def test_an_example_comes_to_what_it_says(
    cdpd: Cdpd, monkeypatch: pytest.MonkeyPatch, config: str, command: str, output: str
) -> None:
    if "[destinations.mixpanel]" in config:
        need("mixpanel" in discovery.destinations(), "cdpd-mixpanel (pip install -e plugins/mixpanel)")
    monkeypatch.setenv("MIXPANEL_TOKEN", "a-secret")
    found = re.search(r"<!-- event.json -->\n```json\n(.*?)```", README, re.DOTALL)
    assert found
    Path("event.json").write_text(found[1])
    Path("cdpd.toml").write_text(SOURCE + config)
    Path("cdpd.toml").chmod(0o600)
    checked = cdpd("check")
    assert checked.code == 0, checked.err
    assert "warning" not in checked.out
    ran = cdpd(*command.split()[1:])
    assert ran.code == 0, ran.err
    left = iter(ran.lines)
    for line in output.splitlines():
        assert line in left, f"{line!r} is not (or not there) in:\n{ran.out}"


def test_the_actions_of_filters_in_its_table_are_right(cdpd: Cdpd) -> None:
    actions = re.findall(r"^\| `(\{ type = .*?\})` \|", README, re.MULTILINE)
    assert len(actions) == 4
    filters = "".join(
        f'[[destinations.out.filters]]\nif = "all"\nactions = [{action}]\n' for action in actions
    )
    Path("cdpd.toml").write_text(f'{SOURCE}[destinations.out]\ntype = "null"\n{filters}')
    checked = cdpd("check")
    assert checked.code == 0, checked.err
