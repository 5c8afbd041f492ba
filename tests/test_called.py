"""How a command that we print is written, so that it can be pasted where we were called."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from cdpd.called import program, python


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_that_the_shell_finds_is_called_by_its_name(tmp_path: Path) -> None:
    found = executable(tmp_path / "bin" / "cdpd")
    assert program([str(found)], str(found.parent)) == "cdpd"


def test_a_program_in_an_environment_is_called_by_the_path_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / ".venv" / "bin" / "cdpd")
    other = executable(tmp_path / "other" / "cdpd")
    monkeypatch.chdir(tmp_path)
    assert program([".venv/bin/cdpd"], "") == ".venv/bin/cdpd"
    assert program([".venv/bin/cdpd"], str(other.parent)) == ".venv/bin/cdpd"
    assert program(["./my env/bin/cdpd"], "") == "'./my env/bin/cdpd'"


def test_a_module_that_is_run_is_called_so(tmp_path: Path) -> None:
    assert program(["/somewhere/cdpd/__main__.py"], "") == f"{python(path='')} -m cdpd"


def test_in_another_program_it_has_its_plain_name() -> None:
    assert program(["/usr/bin/pytest"], "") == "cdpd"
    assert program([], "") == "cdpd"


def test_python_is_called_by_name_or_by_its_path_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = executable(tmp_path / ".venv" / "bin" / "python3")
    assert python(str(own), str(own.parent)) == "python3"
    assert python(str(own), "/nowhere") == str(own)
    monkeypatch.chdir(tmp_path)
    assert python(str(own), "/nowhere") == ".venv/bin/python3"


def test_an_environments_python_is_not_taken_for_the_systems_to_which_it_is_a_link(tmp_path: Path) -> None:
    system = shutil.which("python3")
    assert system is not None
    (tmp_path / "bin").mkdir()
    own = tmp_path / "bin" / "python3"
    own.symlink_to(sys.executable)
    assert python(str(own), str(Path(system).parent)) == str(own)
