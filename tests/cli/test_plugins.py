"""`cdpd plugins`, and commands of other packages: found through the metadata that pip installs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.test_examples import ROOT

from .conftest import Cdpd

MODULE = '''
"""Looks up where people are."""

from typing import Annotated, Any, Literal

import typer
from msgspec import Meta, Struct

from cdpd.destinations.actions import (
    Action, ActionDestination, ActionsConfig, Batching, Mapped, Preset, Shape, each, first, template,
)
from cdpd.destinations.contract import Destination, DestinationConfig
from cdpd.plugins import Plugin


class Geo(Plugin):
    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        database: str
        """The file with the places."""
        precision: Literal["city", "country"] = "city"
        tries: Annotated[int, Meta(ge=1)] = 3


class Track(Struct, kw_only=True):
    product: str
    """Its number."""
    price: float | None = None


class Play(Struct, kw_only=True):
    title: Annotated[str, Mapped("$.properties.title")]
    """What is played."""
    listener: Annotated[str | None, Mapped(first("$.userId", "$.anonymousId"))] = None
    note: Annotated[str | None, Mapped(template("by {{context.library.name}}"))] = None
    quality: Annotated[Literal["low", "high"], Mapped("high")] = "high"
    tracks: Annotated[
        list[dict[str, Any]] | None,
        Mapped(each("$.properties.tracks", {"product": "$.no"})),
        Shape(Track, extra=True),
    ] = None


async def play(radio, plays):
    return None


PLAY = Action(
    name="play", title="Play", doc="Tells of what is played.", payload=Play, trigger='type = "track" or event = "a|b"',
    perform_batch=play, batching=Batching(max_events=20),
)
STOP = Action(name="stop", title="Stop", payload=Track, perform=play)


class Radio(ActionDestination):
    """A radio. Plays songs."""

    name = "Radio"
    actions = (PLAY, STOP)
    presets = (Preset("Plays", PLAY), Preset("Pages", PLAY, 'type = "page"', {"title": {"@path": "$.name"}}))

    class Config(ActionsConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        key: str
        """Who we are."""


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


_OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
HOOKS = sorted(_OURS["cdpd.hooks"])
DESTINATIONS = sorted(_OURS["cdpd.destinations"])


@pytest.fixture
def geo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a hook, a destination and two commands, installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "cdpd_geo.py").write_text(MODULE)
    install(
        folder, "cdpd-geo",
        "[cdpd.hooks]\nplaces = cdpd_geo:Geo\n[cdpd.destinations]\ncrm = cdpd_geo:Crm\nradio = cdpd_geo:Radio\n"
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
    assert ours == [*HOOKS, *DESTINATIONS]
    for plugin in cdpd("plugins", "--json").json["plugins"]:
        assert plugin["doc"], plugin["name"]
        assert len(plugin["doc"]) <= 120


@pytest.mark.parametrize("name", sorted({*HOOKS, *DESTINATIONS}))
def test_every_option_of_a_built_in_plugin_is_explained(cdpd: Cdpd, name: str) -> None:
    for plugin in cdpd("plugins", "show", name, "--json").json["plugins"]:
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


def test_show_tells_what_a_destination_can_do_and_what_it_does_by_itself(cdpd: Cdpd, geo: Path) -> None:
    lines = cdpd("plugins", "show", "radio").lines
    assert lines[:6] == [
        "radio: a destination of cdpd-geo 1.2",
        "A radio. Plays songs.",
        "",
        "[destinations.radio]",
        "actions  (a list of tables; default [])",
        "    Actions as you want them. Those that are not named here run as in the presets.",
    ]
    at = lines.index(
        "Runs by itself, where [[destinations.NAME.actions]] does not name the action (presets):"
    )
    assert lines[at + 1 :] == [
        '  Plays: play, when type = "track" or event = "a|b"',
        '  Pages: play, when type = "page"',
        "",
        "Action play: Play",
        "  Tells of what is played.",
        '  when type = "track" or event = "a|b"',
        "  up to 20 share a request",
        "  title  (string; needed; from $.properties.title)",
        "      What is played.",
        "  listener  (string; from $.userId, else $.anonymousId)",
        '  note  (string; from "by {{context.library.name}}")',
        '  quality  ("low" or "high"; from "high")',
        "  tracks  (list of object with any keys besides; "
        'from {"@arrayPath":["$.properties.tracks",{"product":{"@path":"$.no"}}]})',
        "      product  (string; needed)",
        "          Its number.",
        "      price  (number)",
        "",
        "Action stop: Stop",
        "  has no trigger of its own: say `when`",
        "  product  (string; needed)",
        "      Its number.",
        "  price  (number)",
    ]


def test_show_as_json_has_actions_and_presets_and_leaves_out_what_is_not_there(cdpd: Cdpd, geo: Path) -> None:
    (radio,) = cdpd("plugins", "show", "radio", "--json").json["plugins"]
    play, stop = radio["actions"]["actions"]
    assert (play["name"], play["max_events"], play["trigger"]) == (
        "play",
        20,
        'type = "track" or event = "a|b"',
    )
    assert play["fields"][0] == {
        "name": "title", "type": "string", "required": True, "default": {"@path": "$.properties.title"},
        "doc": "What is played.",
    }  # fmt: skip
    assert play["fields"][3]["choices"] == ["low", "high"]
    assert (play["fields"][4]["type"], play["fields"][4]["extra_keys"]) == ("list of object", True)
    assert "trigger" not in stop
    assert radio["actions"]["presets"][1] == {
        "title": "Pages", "action": "play", "trigger": 'type = "page"', "mapping": {"title": {"@path": "$.name"}},
    }  # fmt: skip
    (crm,) = cdpd("plugins", "show", "crm", "--json").json["plugins"]
    assert "actions" not in crm


def test_show_as_markdown_is_a_page_with_whole_tables(cdpd: Cdpd, geo: Path) -> None:
    ran = cdpd("plugins", "show", "radio", "--markdown")
    assert ran.code == 0
    assert ran.lines[:5] == [
        "# radio", "", "A radio. Plays songs.", "", "A destination of `cdpd-geo` 1.2.",
    ]  # fmt: skip
    assert "| `key` | a string | needed | Who we are. |" in ran.lines
    assert "| `actions.when` | a string | optional |" in ran.out
    assert '| Plays | `play` | `type = "track" or event = "a\\|b"` |' in ran.lines
    assert "| `title` | string, needed | `$.properties.title` | What is played. |" in ran.lines
    assert "| `tracks.product` | string, needed |  | Its number. |" in ran.lines
    assert "## `stop`: Stop" in ran.lines
    for line in ran.lines:
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)
            assert len(cells) in (5, 6), line


@pytest.mark.parametrize("name", ["webhook", "null", "spec"])
def test_every_plugin_has_a_page(cdpd: Cdpd, name: str) -> None:
    ran = cdpd("plugins", "show", name, "--markdown")
    assert ran.code == 0
    assert ran.lines[0] == f"# {name}"
    assert "## Options" in ran.lines
    assert ("## `send`: Send" in ran.lines) == (name == "webhook")


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
