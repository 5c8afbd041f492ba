"""`[process] roles`: every role in exactly one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.test_load import GOOD, loaded, problems


def test_without_the_setting_one_process_has_every_role(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD).config.process.roles == [["ingest", "process", "deliver"]]


@pytest.mark.parametrize(
    "roles", ['[["ingest"], ["process", "deliver"]]', '[["deliver"], ["ingest"], ["process"]]']
)
def test_roles_are_spread_over_processes(tmp_path: Path, roles: str) -> None:
    found = loaded(tmp_path, f"{GOOD}\n[process]\nroles = {roles}\n").config.process.roles
    assert {role for group in found for role in group} == {"ingest", "process", "deliver"}


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ('[["ingest"], ["process"]]', '"deliver" is in none'),
        ('[["ingest"], ["ingest", "process", "deliver"]]', '"ingest" is in 2 processes'),
        ('[["ingest", "process", "deliver"], []]', "an empty list is a process that does nothing"),
        ("[]", '"ingest" is in none; "process" is in none; "deliver" is in none'),
    ],
)
def test_a_role_in_no_process_or_in_two_is_told_with_the_form(tmp_path: Path, roles: str, said: str) -> None:
    (problem,) = problems(tmp_path, f"{GOOD}\n[process]\nroles = {roles}\n")
    assert problem.startswith("cdpd.toml:6:9: process.roles: ")
    assert said in problem
    assert 'write it like [["ingest"], ["process", "deliver"]]' in problem


def test_a_role_that_there_is_not_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    found = problems(tmp_path, f'{GOOD}\n[process]\nroles = [["ingest"], ["proces", "deliver"]]\n')
    assert 'did you mean "process"?' in found[-1]
