"""[delivery], and `was` of destinations: wrong ones are told with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.config.load import load
from cdpd.config.problem import ConfigError
from tests.config.catalogue import FakeCatalogue


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "cdpd.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, catalogue=FakeCatalogue(), environ={})
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def section(name: str, was: str = "") -> str:
    return f'[destinations.{name}]\ntype = "file"\npath = "x"\n' + (f'was = "{was}"\n' if was else "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (section("new", "new"), "cdpd.toml:4:7: destinations.new.was: that is the name which it has now"),
        (
            section("old") + section("new", "old"),
            "cdpd.toml:7:7: destinations.new.was: [destinations.old] is still there: two destinations",
        ),
        (
            section("a", "old") + section("b", "old"),
            "cdpd.toml:8:7: destinations.b.was: [destinations.a] has this name already",
        ),
        (
            '[delivery]\nkeep_parked = "a month"\n',
            "cdpd.toml:2:15: delivery.keep_parked: 'a month' is no duration: write",
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    (told,) = problems(tmp_path, text)
    assert told.startswith(problem)


def test_a_destination_may_say_for_ever_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    path.write_text(section("new", "old") + '[delivery]\nkeep_parked = "forever"\n')
    config = load(path, catalogue=FakeCatalogue(), environ={}).config
    assert config.destinations["new"]["was"] == "old"
    assert config.delivery.keep_parked == "forever"
