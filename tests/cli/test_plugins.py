"""`cdpd plugins`, and commands of other packages: found through the metadata that pip installs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import Cdpd

MODULE = '''
"""Looks up where people are."""

from typing import Annotated, Literal

import typer
from msgspec import Meta, Struct

from cdpd.destinations.contract import Destination, DestinationConfig
from cdpd.plugins import Plugin


class Geo(Plugin):
    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        database: str
        """The file with the places."""
        precision: Literal["city", "country"] = "city"
        tries: Annotated[int, Meta(ge=1)] = 3


class Crm(Destination):
    """A CRM. Upserts people."""

    name = "Crm"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        url: str
        """Where its API is."""


def hello(name: str = "you", fail: bool = False) -> None:
    """Say hello."""
    if fail:
        raise ValueError("a fault of the plugin's own")
    print(f"hello {name}")


app = typer.Typer()


@app.command()
def bye() -> None:
    """Say bye."""
    print("bye")
'''


def install(folder: Path, name: str, entry_points: str) -> None:
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entry_points)


HOOKS = ("bots", "dedup", "drop", "geo", "ip", "sample", "spec", "user_agent")


@pytest.fixture
def geo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a hook, a destination and two commands, installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "cdpd_geo.py").write_text(MODULE)
    install(
        folder, "cdpd-geo",
        "[cdpd.hooks]\nplaces = cdpd_geo:Geo\n[cdpd.destinations]\ncrm = cdpd_geo:Crm\n"
        "[cdpd.commands]\nhello = cdpd_geo:hello\nbye = cdpd_geo:app\nrun = cdpd_geo:hello\n",
    )  # fmt: skip
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(__import__("sys").modules, "cdpd_geo", raising=False)
    return folder


def test_the_built_in_plugins_are_listed_and_can_be_loaded(cdpd: Cdpd) -> None:
    ran = cdpd("plugins")
    assert ran.code == 0, ran.out
    rows = [line.split() for line in ran.lines if line.startswith("  ")]
    ours = [row[0] for row in rows if row[1] == "cdpd-daemon"]
    assert ours == [*HOOKS, "console", "file", "null", "webhook"]
    for plugin in cdpd("plugins", "--json").json["plugins"]:
        assert plugin["doc"], plugin["name"]
        assert len(plugin["doc"]) <= 120


@pytest.mark.parametrize("name", [*HOOKS, "console", "file", "null", "webhook"])
def test_every_option_of_a_built_in_plugin_is_explained(cdpd: Cdpd, name: str) -> None:
    (plugin,) = cdpd("plugins", "show", name, "--json").json["plugins"]
    assert [option["name"] for option in plugin.get("options", []) if not option["doc"]] == []
    shown = cdpd("plugins", "show", name)
    assert shown.code == 0
    assert shown.lines[0].startswith(f"{name}: a ")


def test_plugins_of_other_packages_are_listed_with_their_package(cdpd: Cdpd, geo: Path) -> None:
    rows = [" ".join(line.split()) for line in cdpd("plugins").lines]
    assert "places cdpd-geo 1.2 Looks up where people are." in rows
    assert "crm cdpd-geo 1.2 A CRM. Upserts people." in rows


def test_show_tells_each_option_with_type_default_and_meaning(cdpd: Cdpd, geo: Path) -> None:
    ran = cdpd("plugins", "show", "places")
    assert ran.code == 0
    assert ran.lines == [
        "places: a hook of cdpd-geo 1.2",
        "Looks up where people are.",
        "",
        "[hooks.places]",
        "database  (a string; needed)",
        "    The file with the places.",
        'precision  ("city" or "country"; default "city")',
        "tries  (a whole number; default 3)",
    ]
    destination = cdpd("plugins", "show", "crm").lines
    assert destination[4:8] == [
        "url  (a string; needed)", "    Where its API is.", "", "Options of every destination:",
    ]  # fmt: skip
    assert 'from  (a string; default "now")' in destination


def test_show_tells_the_keys_of_tables_too(cdpd: Cdpd) -> None:
    lines = cdpd("plugins", "show", "drop").lines
    at = lines.index("rules  (a list of tables; default [])")
    assert lines[at + 2] == "    source  (a string or a list of strings; optional)"
    assert lines[at + 3].startswith("        Names of sources; ")
    lines = cdpd("plugins", "show", "null").lines
    assert (
        lines[lines.index("batch  (a table; optional)") + 2]
        == "    max_events  (a whole number; default 500)"
    )
    (drop,) = cdpd("plugins", "show", "drop", "--json").json["plugins"]
    assert [option["name"] for option in drop["options"][0]["inner"]] == ["source", "type", "event", "name"]


def test_show_tells_the_choices_in_a_list(cdpd: Cdpd) -> None:
    assert any(
        line.startswith('fields  (a list of "location", "timezone" or "network"; ')
        for line in cdpd("plugins", "show", "geo").lines
    )


def test_show_of_what_is_not_installed_suggests(cdpd: Cdpd, geo: Path) -> None:
    ran = cdpd("plugins", "show", "xyz")
    assert ran.code == 1
    assert "no plugin 'xyz' is installed" in ran.err
    assert 'did you mean "places"?' in cdpd("plugins", "show", "place").err


def test_a_plugin_that_cannot_be_loaded_is_told_with_the_reason_and_exits_1(cdpd: Cdpd, geo: Path) -> None:
    install(
        geo,
        "cdpd-broken",
        "[cdpd.hooks]\nbroken = cdpd_missing:X\n[cdpd.commands]\nbroken = cdpd_missing:y\n",
    )
    ran = cdpd("plugins")
    assert ran.code == 1
    assert "  broken cannot be loaded: ModuleNotFoundError: No module named 'cdpd_missing'" in ran.lines
    assert any(line.split()[:2] == ["places", "cdpd-geo"] for line in ran.lines)
    ran = cdpd("plugins", "show", "broken")
    assert ran.code == 1
    assert "cannot be loaded" in ran.out
    ran = cdpd("broken")
    assert ran.code == 1
    assert ran.err == (
        "cdpd: the command 'broken' of cdpd-broken cannot be loaded: "
        "ModuleNotFoundError: No module named 'cdpd_missing'\n"
    )


def test_a_name_that_two_packages_claim_is_told(cdpd: Cdpd, geo: Path) -> None:
    install(geo, "cdpd-other", "[cdpd.hooks]\nplaces = cdpd_geo:Geo\n")
    ran = cdpd("plugins")
    assert ran.code == 1
    assert "offered by 2 packages (cdpd-geo, cdpd-other)" in ran.out


def test_commands_of_other_packages_run_and_stand_in_the_help(cdpd: Cdpd, geo: Path) -> None:
    assert cdpd("hello", "--name", "Ada").out == "hello Ada\n"
    assert cdpd("bye").out == "bye\n"
    assert cdpd("hello", "--help").out.startswith("Usage: cdpd hello")
    out = cdpd("--help").out
    assert re.search(r"From plugins:\n  bye +from cdpd-geo\n  hello +from cdpd-geo\n", out)
    assert "run        from cdpd-geo" not in out


def test_a_command_of_another_package_cannot_take_the_name_of_one_of_ours(cdpd: Cdpd, geo: Path) -> None:
    assert cdpd("run", "--help").out.startswith("Usage: cdpd run [OPTIONS]\n\n  Start the daemon")
