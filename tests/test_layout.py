"""The architecture, held by tests: who may import whom, what a light command loads, what our packages depend on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Literal

import pytest

from cdpd.cli.scaffold import contents, names_for

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "cdpd"

PLAIN: Final = (
    "event",
    "section",
    "clock",
    "timestamp",
    "metrics",
    "secret",
    "foreign",
    "limit",
    "group_commit",
)
"""What everybody may know: data, time, counters, secrets, how strangers' code is called."""
ARROWS: Final[dict[str, tuple[str, ...]]] = {
    "event": ("section",),
    "section": (),
    "clock": (),
    "timestamp": (),
    "metrics": (),
    "discovery": (),
    "log": ("event", "clock"),
    "mapping": ("event", "section"),
    "config": ("timestamp", "clock", "secret", "destinations.contract", "discovery"),
    "secret": (),
    "foreign": (),
    "limit": ("config.rate",),
    "group_commit": (),
    "terminal": (),
    "lines": ("event", "timestamp", "terminal"),
    "oauth": (*PLAIN, "config", "control.contract"),
    "ingest": (*PLAIN, "objects", "log", "mapping", "config", "oauth.contract"),
    "pipeline": (*PLAIN, "log", "mapping", "config", "hookspecs", "plugins", "control.contract"),
    "delivery": (*PLAIN, "log", "mapping", "config", "destinations", "functions"),
    "warehouse": (*PLAIN, "log", "mapping", "config", "destinations"),
    "control": (*PLAIN, "log", "mapping", "config"),
    "bring": (*PLAIN, "log", "config", "ingest", "control"),
    "archive": ("event", "log", "config"),
    "difference": ("section", "terminal"),
    "compare": (*PLAIN, "log", "config", "pipeline", "delivery", "destinations", "difference", "lines"),
    "alerts": (*PLAIN, "log", "config", "destinations", "delivery", "disk"),
    "trace": (*PLAIN, "log", "config", "delivery", "pipeline", "difference", "lines", "upkeep"),
    # What a function imports must load quickly: its process is started with it.
    "functions": (*PLAIN, "objects", "log", "config", "ingest", "destinations", "hookspecs", "plugins"),
    # Built-in plugins get what those of third parties get: the contracts, the event, and reading the log.
    "plugins": ("event", "clock", "log.reader"),
    "hookspecs": ("event", "plugins"),
    "hooks": ("event", "section", "clock", "timestamp", "log", "config", "hookspecs", "plugins"),
    "destinations": (
        "event",
        "section",
        "clock",
        "timestamp",
        "secret",
        "config",
        "mapping",
        "lines",
        "terminal",
    ),
}
"""Part → the parts (or modules of them) that it may import. A part that is not named here may import all."""
INNERMOST: Final = ("daemon", "start")
"""What nobody imports but ENTRANCES."""
ENTRANCES: Final = ("start", "cli.run")


def modules() -> dict[str, Path]:
    """Module, without `cdpd.`, → its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES: Final = modules()


def imported(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, inside functions and for types alone too; without `cdpd.`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name[5:] for name in node.names if name.name.startswith("cdpd."))
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: an import is written in full"
            if node.module == "cdpd":
                yield from (name.name for name in node.names)
            elif node.module and node.module.startswith("cdpd."):
                for name in node.names:
                    inner = f"{node.module[5:]}.{name.name}"
                    yield inner if inner in MODULES else node.module[5:]


def within(module: str, parts: tuple[str, ...]) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)


@pytest.mark.parametrize("module", [module for module in MODULES if module])
def test_a_module_imports_only_what_its_part_may_know(module: str) -> None:
    part = module.partition(".")[0]
    for name in imported(MODULES[module]):
        if within(name, INNERMOST):
            assert module in ENTRANCES, f"{module} imports {name}"
        if part in ARROWS and not within(name, (part,)):
            assert within(name, ARROWS[part]), f"{module} imports {name}"


def test_every_part_that_has_an_arrow_to_it_is_one() -> None:
    later = {"mapping", "warehouse"}
    parts = {module.partition(".")[0] for module in MODULES} | later
    named = set(ARROWS) | {name.partition(".")[0] for names in ARROWS.values() for name in names}
    assert named <= parts


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("cli")])
def test_no_command_loads_the_server_by_being_imported(module: str) -> None:
    script = (
        f"import sys, cdpd.{module}; "
        "print([name for name in ('aiohttp', 'duckdb', 'structlog', 'uvloop', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("path", [path.relative_to(ROOT).as_posix() for path in MODULES.values()])
def test_a_file_says_what_it_is_for_and_is_no_longer_than_400_lines(path: str) -> None:
    text = (ROOT / path).read_text()
    assert ast.get_docstring(ast.parse(text)), "a file opens with what it is for"
    assert len(text.splitlines()) <= 400


# -- packages ------------------------------------------------------------------------------------------


def projects() -> list[Path]:
    """Every package of ours: the core, the plugins, and the examples under tests/."""
    found = [ROOT / "pyproject.toml"]
    for folder in ("plugins", "tests"):
        found += (ROOT / folder).rglob("pyproject.toml")
    return [path for path in found if ".venv" not in path.parts and "node_modules" not in path.parts]


def name_of(requirement: str) -> str:
    """The normalised name (PEP 503) of a requirement (PEP 508)."""
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[1]).lower()


@pytest.mark.parametrize("path", [path.relative_to(ROOT).as_posix() for path in projects()])
def test_no_package_of_ours_is_called_or_depends_on_the_strangers_cdpd(path: str) -> None:
    assert "cdpd" not in packages_named_in((ROOT / path).read_text())


@pytest.mark.parametrize("kind", ["hook", "destination"])
def test_no_package_that_we_write_for_others_does(kind: Literal["hook", "destination"]) -> None:
    named = packages_named_in(contents(kind, names_for(kind, "my-crm"))["pyproject.toml"])
    assert {"cdpd-my-crm", "cdpd-daemon"} <= named
    assert "cdpd" not in named


def packages_named_in(pyproject: str) -> set[str]:
    """Its own name, and those of all that it needs to be built, run or tested."""
    project = tomllib.loads(pyproject)
    built_with = project["build-system"]["requires"]
    project = project["project"]
    wanted = [*project.get("dependencies", []), *built_with]
    for more in project.get("optional-dependencies", {}).values():
        wanted += more
    return {name_of(project["name"]), *map(name_of, wanted)}


def test_the_command_comes_from_our_distribution() -> None:
    (script,) = entry_points(group="console_scripts", name="cdpd")
    assert script.dist is not None
    assert (script.dist.name, script.value) == ("cdpd-daemon", "cdpd.cli:main")


@pytest.mark.parametrize(
    ("requirement", "name"),
    [("cdpd>=1", "cdpd"), ("CDPD_daemon[x] ; extra == 'y'", "cdpd-daemon"), ("cdpd", "cdpd")],
)
def test_names_are_compared_as_the_index_does(requirement: str, name: str) -> None:
    assert name_of(requirement) == name
