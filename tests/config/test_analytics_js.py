"""`[http] analytics_js`: which files it may name, and what is said of those it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.config import analytics_js
from cdpd.config.analytics_js import read_library
from cdpd.config.load import load
from cdpd.config.problem import ConfigError
from tests.analytics_js import CHUNK, ENTRY, write_package
from tests.services import node_modules

from .catalogue import FakeCatalogue


def refusal(path: Path) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        read_library(path)
    return str(caught.value).replace(str(path), "PATH")


@pytest.mark.parametrize("part", ["", "dist/umd", "dist/umd/standalone.js"])
def test_the_package_its_folder_and_the_file_itself_are_the_same_library(tmp_path: Path, part: str) -> None:
    write_package(tmp_path)
    found = read_library(tmp_path / part)
    assert found.entry == ENTRY
    assert list(found.chunks) == [CHUNK]


def test_a_file_under_another_name_is_taken_with_the_chunks_beside_it(tmp_path: Path) -> None:
    umd = write_package(tmp_path)
    renamed = (umd / "standalone.js").rename(umd / "analytics.min.js")
    assert list(read_library(renamed).chunks) == [CHUNK]


def test_the_package_from_npm_is_whole() -> None:
    found = read_library(node_modules() / "@segment" / "analytics-next")
    assert len(found.chunks) == 8


def test_what_is_no_library_is_refused_with_the_way_to_one(tmp_path: Path) -> None:
    umd = write_package(tmp_path)
    where = "name dist/umd of the npm package @segment/analytics-next, or the standalone.js in it"
    assert refusal(tmp_path / "gone") == f"there is no file or folder PATH that can be read: {where}"
    assert refusal(umd / "index.js") == f"PATH is not the library for pages: {where}"
    (umd / "standalone.js").unlink()
    assert refusal(tmp_path) == f"there is no standalone.js in PATH: {where}"
    (umd / "standalone.js").touch()
    assert refusal(umd / "standalone.js") == f"PATH is empty: {where}"


def test_chunks_of_another_version_or_none_at_all_are_told(tmp_path: Path) -> None:
    write_package(tmp_path, ENTRY, "schemaFilter.bundle.ffffffffffffffffffff.js")
    said = refusal(tmp_path / "dist/umd/standalone.js")
    assert said == (
        "PATH asks for chunks that are not beside it (*.bundle.0123456789abcdef0123.js): "
        "copy the whole folder of one version"
    )


def test_files_far_larger_than_the_library_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analytics_js, "LARGEST", len(ENTRY) - 1)
    write_package(tmp_path)
    assert "is larger than" in refusal(tmp_path)


def test_a_folder_with_any_number_of_chunks_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analytics_js, "MOST", 1)
    write_package(tmp_path, ENTRY, CHUNK, "other.bundle.ffffffffffffffffffff.js")
    assert "more than 1 chunks" in refusal(tmp_path)


def test_a_wrong_path_is_a_problem_of_the_configuration_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    path.write_text('[sources.site]\nwrite_keys = ["wk_4f1c9a"]\n[http]\nanalytics_js = "nowhere"\n')
    with pytest.raises(ConfigError) as caught:
        load(path, catalogue=FakeCatalogue(), environ={})
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.key) == (4, 16, "http.analytics_js")
    assert f"there is no file or folder {tmp_path}/nowhere" in problem.message


def test_a_path_is_meant_from_the_folder_of_the_configuration(tmp_path: Path) -> None:
    write_package(tmp_path / "browser")
    path = tmp_path / "cdpd.toml"
    path.write_text('[sources.site]\nwrite_keys = ["wk_4f1c9a"]\n[http]\nanalytics_js = "browser"\n')
    loaded = load(path, catalogue=FakeCatalogue(), environ={})
    assert loaded.config.http.analytics_js == str(tmp_path / "browser")
