"""What a destination itself finds wrong with its options is told with its place, like any other mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.config.load import load
from cdpd.config.problem import ConfigError


def told(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "cdpd.toml"
    path.write_text('[sources.web]\nwrite_keys = ["wk_web"]\n' + text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


def test_a_trigger_that_is_none_is_shown_where_it_stands(tmp_path: Path) -> None:
    (problem,) = told(
        tmp_path,
        "[destinations.hook]\ntype = 'webhook'\n[[destinations.hook.actions]]\naction = 'send'\n"
        "when = 'event = '\nmapping = { url = 'https://x.example' }\n",
    )
    assert problem.startswith("7:8: destinations.hook.actions[0].when: column 9")


def test_an_unknown_action_is_told_with_the_nearest(tmp_path: Path) -> None:
    (problem,) = told(
        tmp_path, "[destinations.hook]\ntype = 'webhook'\n[[destinations.hook.actions]]\naction = 'sned'\n"
    )
    assert problem.startswith("6:10: destinations.hook.actions[0].action: there is no action 'sned'")
    assert 'did you mean "send"?' in problem


def test_a_filter_that_is_none_is_shown_with_a_caret(tmp_path: Path) -> None:
    (problem,) = told(
        tmp_path,
        "[[destinations.null.filters]]\nif = 'userId = oops\"'\nactions = [{ type = 'drop' }]\n",
    )
    assert problem.startswith("3:21: destinations.null.filters[0]: if: column 14: ")
    assert problem.splitlines()[1:] == ['userId = oops"', "             ^"]


def test_wrong_types_are_told_and_nothing_else_is_made_of_them(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, "[destinations.hook]\ntype = 'webhook'\nurl = 7\n")
    assert "destinations.hook.url: expected a string" in problem
