"""The first words of a daemon: what they say to try can be pasted, and means this daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.banner import banner, options_of
from cdpd.config.address import Listen, parse_listen
from cdpd.config.load import LoadedConfig
from cdpd.config.model import Config, SourceConfig

SOURCES = {"web": SourceConfig(write_keys=["wk_banner"])}
BOUND = [parse_listen("127.0.0.1:8080")]


def loaded(development: bool = False, sources: dict[str, SourceConfig] = SOURCES) -> LoadedConfig:
    return LoadedConfig(Config(sources=sources), 1, Path("data"), development=development)


def test_a_development_daemon_says_how_to_send_and_see_a_first_event() -> None:
    text = banner(loaded(development=True), BOUND, ".venv/bin/cdpd", " --data-dir data")
    assert "(`.venv/bin/cdpd init` writes one)" in text
    assert "  curl -u wk_banner: http://127.0.0.1:8080/v1/track -d '{" in text
    assert "  .venv/bin/cdpd tail --data-dir data\n" in text
    assert "  .venv/bin/cdpd query --data-dir data 'select event, count(*) from events group by 1'\n" in text


def test_a_configured_daemon_says_what_to_do_next_where_somebody_reads_it() -> None:
    options = options_of(Path("my shop/cdpd.toml"), None)
    text = banner(loaded(), BOUND, "cdpd", options)
    assert text.startswith("cdpd listens on http://127.0.0.1:8080; its data is in data\n")
    for command in ("snippet", "tail", "status"):
        assert f"  cdpd {command} --config 'my shop/cdpd.toml'" in text
    assert "wk_banner" not in text, "a write key stands in no log"
    quiet = banner(loaded(), BOUND, hints=False)
    assert quiet == "cdpd listens on http://127.0.0.1:8080; its data is in data\n"


def test_without_a_source_there_is_nothing_to_try() -> None:
    off = {"web": SourceConfig(write_keys=["wk_banner"], enabled=False)}
    assert banner(loaded(sources=off), BOUND).count("\n") == 1


@pytest.mark.parametrize(
    ("config", "data_dir", "text"),
    [
        (None, None, ""),
        (Path("/etc/cdpd.toml"), None, " --config /etc/cdpd.toml"),
        (Path("a.toml"), Path("a b"), " --config a.toml --data-dir 'a b'"),
    ],
)
def test_the_options_that_mean_this_daemon(config: Path | None, data_dir: Path | None, text: str) -> None:
    assert options_of(config, data_dir) == text


def test_a_daemon_on_a_unix_socket_alone_is_reached_there() -> None:
    text = banner(loaded(development=True), [Listen("", 0, path="/run/cdpd/http.sock")])
    assert "curl -u wk_banner: --unix-socket /run/cdpd/http.sock http://localhost/v1/track" in text
