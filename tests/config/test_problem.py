"""Problems of a configuration, as people read them and as they are logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.config.load import load
from cdpd.config.problem import ConfigError

from .catalogue import FakeCatalogue


def problem(folder: Path, text: str) -> tuple[str, str]:
    """The only problem of a configuration: as people read it, and as it is logged."""
    path = folder / "cdpd.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, catalogue=FakeCatalogue(), environ={})
    (one,) = caught.value.problems
    return str(one), one.for_log


@pytest.mark.parametrize("key", ["wk_0123456789", 'wk_"quoted', "wk; did you mean this"])
def test_a_write_key_that_stands_where_a_list_should_is_shown_to_people_only(
    tmp_path: Path, key: str
) -> None:
    shown, logged = problem(tmp_path, f"[sources.a]\nwrite_keys = '{key}'\n")
    assert key in shown
    assert logged == (
        f'{tmp_path / "cdpd.toml"}:2:14: sources.a.write_keys: expected a list of strings, found "…"; write ["…"]'
    )


def test_what_was_expected_is_logged(tmp_path: Path) -> None:
    _, logged = problem(tmp_path, '[logging]\nlevel = "warn"\n[sources.a]\nwrite_keys = ["wk_0123456789"]')
    assert 'expected "debug", "info", "warning" or "error", found "…"' in logged
    assert 'did you mean "warning"?' in logged
