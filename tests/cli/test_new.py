"""`cdpd new`: packages whose tests pass at once, names that can be used, and nothing ever overwritten."""

from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cdpd.cli.scaffold import contents, names_for
from tests.test_examples import ROOT

from .conftest import Cdpd

KINDS = ("hook", "destination")


def test_it_says_what_it_wrote_and_what_to_do_next(cdpd: Cdpd) -> None:
    ran = cdpd("new", "hook", "gold-status")
    assert ran.code == 0, ran.err
    assert ran.lines[0] == ("wrote cdpd-gold-status: the hook 'gold_status', in cdpd_gold_status/__init__.py")
    assert ran.lines[1].endswith(" -m pip install -e 'cdpd-gold-status[test]'")
    assert ran.lines[2].endswith(" -m pytest cdpd-gold-status")
    assert ran.lines[3].endswith("cdpd plugins show gold_status")
    folder = Path("cdpd-gold-status")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "README.md", "cdpd_gold_status/__init__.py", "cdpd_gold_status/py.typed", "pyproject.toml",
        "tests/test_gold_status.py",
    ]  # fmt: skip
    assert [path.name for path in Path().iterdir()] == ["cdpd-gold-status"]


def test_the_folder_has_the_rights_that_any_new_folder_has(cdpd: Cdpd) -> None:
    Path("other").mkdir()
    cdpd("new", "hook", "vip")
    assert stat.S_IMODE(Path("cdpd-vip").stat().st_mode) == stat.S_IMODE(Path("other").stat().st_mode)


@pytest.mark.parametrize("kind", KINDS)
def test_it_depends_on_the_daemons_package_and_is_found_by_its_entry_point(cdpd: Cdpd, kind: str) -> None:
    cdpd("new", kind, "my-crm", "--dir", "deep/down/x")
    project = tomllib.loads(Path("deep/down/x/pyproject.toml").read_text())["project"]
    assert project["name"] == "cdpd-my-crm"
    assert [name.partition(">")[0] for name in project["dependencies"]] == ["cdpd-daemon"]
    assert project["entry-points"] == {f"cdpd.{kind}s": {"my_crm": "cdpd_my_crm:MyCrm"}}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_overwritten(cdpd: Cdpd, kind: str) -> None:
    folder = Path("cdpd-vip")
    folder.mkdir()
    assert cdpd("new", kind, "vip").code == 0, "an empty folder may be used"
    (folder / "README.md").write_text("mine")
    ran = cdpd("new", kind, "vip")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "cdpd: cdpd-vip exists already; move it away, or name another with --dir\n"
    assert (folder / "README.md").read_text() == "mine"
    Path("a-file").write_text("mine")
    assert "a-file exists already" in cdpd("new", kind, "vip", "--dir", "a-file").err
    assert Path("a-file").read_text() == "mine"
    assert sorted(path.name for path in Path().iterdir()) == ["a-file", "cdpd-vip"]


def test_a_folder_that_cannot_be_made_is_told(cdpd: Cdpd) -> None:
    ran = cdpd("new", "hook", "vip", "--dir", "/proc/vip")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("cdpd: cannot write /proc/vip: ")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MyCrm", "write lower-case letters, digits and - (40 at most), like my-crm"),
        ("my crm", "like my-crm"),
        ("my--crm", "like my-crm"),
        ("2fast", "like fast"),
        ("ü", "like my-crm"),
        ("", "like my-crm"),
        ("../evil", "like evil"),
        ("x" * 41, f"like {'x' * 40}"),
        ("cdpd-crm", "leave the cdpd out"),
        ("daemon", "cdpd-daemon is the daemon's own package"),
    ],
)
def test_a_name_that_cannot_be_used_is_told_with_a_way_out(cdpd: Cdpd, name: str, told: str) -> None:
    ran = cdpd("new", "destination", name)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert list(Path().iterdir()) == []


def test_the_name_of_an_installed_plugin_is_refused(cdpd: Cdpd) -> None:
    ran = cdpd("new", "hook", "user-agent")
    assert ran.code == 2
    assert "there is a hook 'user_agent' already, of cdpd-daemon" in ran.err
    assert cdpd("new", "destination", "user-agent").code == 0, "a destination of that name is another thing"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["none", "true", "event", "plugin", "destination", "batch", "exception"])
def test_a_class_never_hides_what_the_code_needs(kind: str, name: str) -> None:
    names = names_for(kind, name)  # type: ignore[arg-type]
    texts = contents(kind, names)  # type: ignore[arg-type]
    tree = ast.parse(texts[f"{names.package}/__init__.py"])
    imported = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert names.Class not in {*imported, "None", "True", "Exception"}
    assert names.Class.startswith(name.capitalize())


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_is_formatted_typed_and_without_a_placeholder_left(cdpd: Cdpd, kind: str) -> None:
    cdpd("new", kind, "my-crm")
    folder = Path("cdpd-my-crm")
    texts = [path.read_text() for path in folder.rglob("*.*") if path.is_file()]
    assert all("@name@" not in text and "@Class@" not in text for text in texts)
    for command in (
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
        ["-m", "mypy", "--strict", "cdpd_my_crm"],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def run(*command: object, **environ: str) -> str:
    """What a program says; it must work."""
    done = subprocess.run(
        [str(part) for part in command],
        env={"PATH": os.environ["PATH"], "HOME": str(Path.home()), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_in_a_fresh_environment_what_it_says_to_do_next_works_and_so_do_the_readmes(cdpd: Cdpd) -> None:
    run(sys.executable, "-m", "venv", "venv")
    run("venv/bin/python", "-m", "pip", "install", "-q", ROOT)
    for kind, name in (("hook", "gold-status"), ("destination", "my-crm")):
        said = run("venv/bin/cdpd", "new", kind, name).splitlines()
        install, test, show = (line.removeprefix("next:").strip() for line in said[1:])
        run("sh", "-c", install)
        tested = run("sh", "-c", test)
        assert " passed" in tested
        assert "warning" not in tested
        assert f"a {kind} of cdpd-{name} 0.1.0" in run("sh", "-c", show)
    assert "a secret is never shown" in run("venv/bin/cdpd", "plugins", "show", "my_crm")
    run("venv/bin/cdpd", "destination", "cases", "cdpd-my-crm/tests/cases.json")
    readmes = [Path(folder, "README.md").read_text() for folder in ("cdpd-gold-status", "cdpd-my-crm")]
    config = Path("cdpd.toml")
    config.write_text(
        '[sources.web]\nwrite_keys = ["wk_scaffold_web"]\n'
        + "".join(block for text in readmes for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL))
    )
    config.chmod(0o600)
    checked = run("venv/bin/cdpd", "check", MY_CRM_TOKEN="t")
    assert "hooks spec → dedup → ip → gold_status; 1 destination" in checked
