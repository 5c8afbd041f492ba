"""`cdpd schema`: where it goes, and what is told of plugins that are not in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Cdpd
from .test_plugins import geo, install

__all__ = ["geo"]  # a fixture


def test_it_is_printed_with_the_options_of_other_packages(cdpd: Cdpd, geo: Path) -> None:
    ran = cdpd("schema")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["$defs"]["hook.places"]["required"] == ["database"]
    assert ran.json["$defs"]["destination.crm"]["properties"]["url"]["description"] == "Where its API is."


def test_it_is_written_to_a_file_which_the_help_says_how_to_use(cdpd: Cdpd) -> None:
    ran = cdpd("schema", "-o", "cdpd.schema.json")
    assert (ran.code, ran.out) == (0, "")
    assert json.loads(Path("cdpd.schema.json").read_text()) == cdpd("schema").json
    assert "#:schema ./cdpd.schema.json" in cdpd("schema", "--help").out.replace("\n  ", " ")


def test_a_file_that_cannot_be_written_is_told(cdpd: Cdpd) -> None:
    ran = cdpd("schema", "-o", "nowhere/x.json")
    assert (ran.code, ran.err) == (1, "cdpd: nowhere/x.json: no such file or directory\n")


def test_a_plugin_that_cannot_be_loaded_is_told_and_does_not_keep_it_from_the_rest(
    cdpd: Cdpd, geo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(geo, "cdpd-broken", "[cdpd.hooks]\nbroken = cdpd_missing:X\n")
    ran = cdpd("schema")
    assert ran.code == 0
    assert ran.err.startswith(
        "cdpd: the hook 'broken' of cdpd-broken cannot be loaded, so the schema takes any options for it: "
    )
    assert "hook.places" in ran.json["$defs"]
