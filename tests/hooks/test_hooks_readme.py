"""cdpd/hooks/README.md: every built-in hook is in it, and its examples are configurations that can be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cdpd.hooks
from cdpd import discovery
from cdpd.config.load import load

README = (Path(cdpd.hooks.__file__).parent / "README.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
SOURCE = '[sources.website]\nwrite_keys = ["wk_example_website"]\n'


def test_every_built_in_hook_has_a_section_and_a_row() -> None:
    ours = {name for name, found in discovery.hooks().items() if found.distribution == "cdpd-daemon"}
    assert set(re.findall(r"^## (\w+)$", README, re.MULTILINE)) == ours
    assert set(re.findall(r"^\| \[`(\w+)`\]\(#(?:\w+)\)", README, re.MULTILINE)) == ours


def test_every_hook_with_options_has_an_example() -> None:
    shown = set(re.findall(r"^\[hooks\.(\w+)\]", "".join(EXAMPLES), re.MULTILINE))
    shown |= set(re.findall(r'^use = "(\w+)"', "".join(EXAMPLES), re.MULTILINE))
    assert {
        name for name, found in discovery.hooks().items() if found.load().Config.__struct_fields__
    } <= shown


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_can_be_used_as_it_is(example: str, tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "clean.py").write_text("def on_track(event, settings):\n    return event\n")
    path.write_text(example if "[sources." in example else f"{example}\n{SOURCE}")
    loaded = load(path, catalogue=discovery, environ={})
    assert set(loaded.config.hooks) <= {"asn", "clean", *discovery.hooks()}
