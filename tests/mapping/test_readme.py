"""cdpd/mapping/README.md: its examples give what it says, and everything that there is is in it."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cdpd.mapping import view
from cdpd.mapping.fql.compile import SEMVER_OPERATORS
from cdpd.mapping.fql.filter import compile_filter
from cdpd.mapping.fql.functions import FUNCTIONS
from cdpd.mapping.fql.trigger import compile_trigger
from cdpd.mapping.kit.compile import compile_mapping
from cdpd.mapping.kit.directives import DIRECTIVES
from tests.cli.conftest import in_a_process

README = Path(view.__file__).with_name("README.md").read_text()


def block(name: str) -> str:
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md has no block {name!r}"
    return found[1]


EVENT: dict[str, Any] = json.loads(block("events.ndjson").splitlines()[0])
CONSOLE = re.findall(r"^```console\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
SESSIONS = [
    tuple(part.split("\n", 1)) for text in CONSOLE for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
]
EXPRESSIONS = re.findall(r"^\| `([^`]+)` \| (true|false) \|$", README, re.MULTILINE)
MAPPINGS = re.findall(r"^\| `(\{.+\})` \| `(\{.*\})` \|$", README, re.MULTILINE)
TRIGGERS = re.findall(
    r"^\| `([^`]+)` \| ((?:\**(?:true|false)\** \| ){4}\**(?:true|false)\**) \|$", README, re.MULTILINE
)


@pytest.mark.parametrize(("command", "output"), SESSIONS)
def test_a_command_prints_what_it_says(command: str, output: str, tmp_path: Path) -> None:
    for name in ("events.ndjson", "mapping.toml"):
        (tmp_path / name).write_text(block(name))
    program, *arguments = shlex.split(command)
    assert program == "cdpd"
    ran = in_a_process(*arguments, cwd=tmp_path)
    assert ran.out + ran.err == output


@pytest.mark.parametrize(("expression", "answer"), EXPRESSIONS)
def test_an_expression_is_what_it_says(expression: str, answer: str) -> None:
    assert compile_filter(expression).test(EVENT) is (answer == "true")


@pytest.mark.parametrize(("trigger", "answers"), TRIGGERS)
def test_a_trigger_is_what_it_says(trigger: str, answers: str) -> None:
    compiled = compile_trigger(trigger)
    given: list[dict[str, Any]] = [{}, {"x": "v"}, {"x": "w"}, {"x": 3}, {"x": 4}]
    told = [answer.strip("* ") == "true" for answer in answers.split("|")]
    assert [compiled.test({"properties": properties}) for properties in given] == told


@pytest.mark.parametrize(("mapping", "payload"), MAPPINGS)
def test_a_mapping_gives_what_it_says(mapping: str, payload: str) -> None:
    written = json.loads(mapping.replace("\\|", "|"))
    assert compile_mapping(written).resolve(EVENT) == json.loads(payload)


def test_there_are_examples_of_everything() -> None:
    assert (len(SESSIONS), len(EXPRESSIONS), len(TRIGGERS), len(MAPPINGS)) == (5, 14, 10, 11)
    assert set(re.findall(r"(\w+)\((?=\w)", README)) >= set(FUNCTIONS)
    assert set(re.findall(r"^\| `(@\w+)` \|", README, re.MULTILINE)) == set(DIRECTIVES)
    assert SEMVER_OPERATORS.keys() <= set(re.findall(r"[<>=!]+", README))
    assert tomllib.loads(block("mapping.toml"))


def test_the_code_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    exec(code, {})
