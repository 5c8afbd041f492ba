"""The files in etc/: they run as they are, and say what the code does."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from cdpd.config import model
from cdpd.config.describe import field_docs, inner_structs
from cdpd.config.load import load
from cdpd.config.reference import reference
from cdpd.config.starter import SAMPLE_KEY, starter

from .catalogue import FakeCatalogue

ETC = Path(__file__).parents[2] / "etc"


def test_the_configuration_in_etc_is_the_one_that_init_writes() -> None:
    assert (ETC / "cdpd.toml").read_text() == starter(SAMPLE_KEY)


def test_the_configuration_in_etc_can_be_used_with_what_lies_beside_it() -> None:
    loaded = load(ETC / "cdpd.toml", catalogue=FakeCatalogue(), environ={})
    assert [path.relative_to(ETC).as_posix() for path in loaded.files] == ["cdpd.toml", "conf.d/app.toml"]
    assert list(loaded.config.sources) == ["website", "app"]
    assert [warning.key for warning in loaded.warnings] == [
        f"sources.{name}.write_keys[0]" for name in ("website", "app")
    ]


def test_what_the_starter_leaves_commented_out_can_be_used_too(tmp_path: Path) -> None:
    lines = starter("wk_website_4f1c").splitlines()
    text = "\n".join(
        line.removeprefix("# ")
        if line.startswith("# ")
        and (line[2] == "[" or (" = " in line and line[2].islower() and "`" not in line))
        else line
        for line in lines
    )
    path = tmp_path / "cdpd.toml"
    path.write_text(text)
    path.chmod(0o600)
    loaded = load(path, catalogue=FakeCatalogue(), environ={})
    assert list(loaded.config.destinations) == ["console", "signups"]
    assert loaded.config.log.discarded.keep == "30d"
    assert loaded.config.http.trusted_proxies == ["127.0.0.1"]


def test_the_reference_of_the_settings_is_current() -> None:
    assert (ETC / "README.md").read_text() == reference()


def test_every_setting_is_explained() -> None:
    def structs(config: type[Struct]) -> set[type[Struct]]:
        inner = inner_structs(config)
        return {config}.union(*(structs(kind) for kind in inner.values()))

    for config in structs(model.Config) | {model.SourceConfig}:
        if config is model.Config:
            continue
        explained = field_docs(config)
        sections = inner_structs(config)
        assert [
            name for name in config.__struct_fields__ if name not in explained and name not in sections
        ] == []
