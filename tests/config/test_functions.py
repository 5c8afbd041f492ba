"""Functions in the configuration: what is wrong is told with its place, nothing is run; their place in chains."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.config.functions import read_settings, setup_of
from cdpd.config.load import LoadedConfig, load
from cdpd.config.problem import ConfigError
from cdpd.secret import Secret

FINE = "def on_track(event, settings): return event\n"


def loaded(folder: Path, text: str, **files: str) -> LoadedConfig:
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    (folder / "cdpd.toml").write_text(text)
    return load(folder / "cdpd.toml")


def problems(folder: Path, text: str, **files: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        loaded(folder, text, **files)
    return [f"{p.line}: {p.message.replace(str(folder), '')}; {p.suggestion}" for p in raised.value.problems]


SOURCE = '[sources.web]\nwrite_keys = ["wk_web_1"]\n'


def test_a_sources_insert_function_stands_after_spec_and_dedup_in_its_own_chain(tmp_path: Path) -> None:
    text = SOURCE + 'insert = "clean.py"\n[sources.app]\nwrite_keys = ["wk_app_1"]\n'
    found = loaded(tmp_path, text, clean=FINE).config
    assert found.sources["web"].hooks == ["spec", "dedup", "web.insert", "ip"]
    assert found.sources["app"].hooks is None
    assert found.hooks["web.insert"] == {"use": "function", "file": str(tmp_path / "clean.py")}


def test_it_stands_first_where_the_chain_has_neither(tmp_path: Path) -> None:
    found = loaded(tmp_path, SOURCE + 'hooks = ["ip"]\ninsert = { file = "clean.py" }\n', clean=FINE).config
    assert found.sources["web"].hooks == ["web.insert", "ip"]


def test_files_are_below_the_configurations_folder(tmp_path: Path) -> None:
    text = SOURCE + 'function = { file = "hook.py", settings = { key = "k" } }\n[destinations.mine]\n'
    text += 'type = "function"\nfile = "mine.py"\ninsert = "mine.py"\n'
    found = loaded(tmp_path, text, mine=FINE, hook="async def on_request(request, settings): pass").config
    function = found.sources["web"].function
    assert function is not None
    assert setup_of(function).file == str(tmp_path / "hook.py")
    assert found.destinations["mine"]["file"] == str(tmp_path / "mine.py")
    assert found.destinations["mine"]["insert"] == str(tmp_path / "mine.py")


def test_what_is_wrong_with_a_file_is_told_with_the_place_that_names_it(tmp_path: Path) -> None:
    text = SOURCE + 'insert = "missing.py"\nfunction = "clean.py"\n[destinations.mine]\ntype = "function"\n'
    text += 'file = "broken.py"\n[destinations.crm]\ntype = "null"\ninsert = { file = "typo.py" }\n'
    files = {"clean": FINE, "broken": "def on_track(event, settings)", "typo": "def on_trak(e, s): return e"}
    assert problems(tmp_path, text, **files) == [
        "3: the function's file /missing.py cannot be read: no such file or directory; ",
        "4: the function /clean.py has no handler; it needs one of: on_request",
        "7: the function is no Python: /broken.py:1: expected ':'; ",
        '10: the function /typo.py has no handler; did you mean "on_track"?',
    ]


def test_checking_runs_nothing_of_a_function(tmp_path: Path) -> None:
    loaded(tmp_path, SOURCE + 'insert = "clean.py"\n', clean="raise SystemExit\n" + FINE)


@pytest.mark.parametrize("text", ["from x import on_track", "from x import *", "on_page = on_track = print"])
def test_handlers_may_come_from_elsewhere(tmp_path: Path, text: str) -> None:
    loaded(tmp_path, SOURCE + 'insert = "clean.py"\n', clean=text)


def test_secrets_among_settings_are_read_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    found = read_settings({"key": {"env": "KEY"}, "rate": 1.5, "names": ["a", {"env": "KEY"}]})
    assert found == {"key": Secret("s3cret"), "rate": 1.5, "names": ["a", Secret("s3cret")]}
    assert read_settings(found) == found
    assert "s3cret" not in repr(found)


def test_a_setting_of_a_wrong_form_is_told_by_its_name(tmp_path: Path) -> None:
    text = SOURCE + 'insert = { file = "clean.py", settings = { key = { env = "NOT_SET_ANYWHERE" } } }\n'
    (found,) = problems(tmp_path, text, clean=FINE)
    assert "settings: key: the environment variable NOT_SET_ANYWHERE is not set" in found
