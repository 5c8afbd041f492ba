"""systemd/README.md says what is so: its files, settings, metrics and commands exist."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest

from cdpd.cli.registry import BUILT_IN
from cdpd.config.load import load
from tests.certificates import make_certificate
from tests.systemd.test_units import MOST_EXPOSED, UNITS

TEXT = (UNITS / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCKS if found == kind]


def test_its_configurations_load_together(tmp_path: Path) -> None:
    make_certificate(tmp_path / "made", "web")
    (tmp_path / "tls").mkdir()
    (tmp_path / "made/web.pem").rename(tmp_path / "tls/fullchain.pem")
    (tmp_path / "made/web.key").rename(tmp_path / "tls/privkey.pem")
    config = tmp_path / "cdpd.toml"
    config.write_text('[sources.web]\nwrite_keys = ["wk_operating_web"]\n' + "".join(blocks("toml")))
    loaded = load(config)
    assert loaded.certificate is not None
    assert loaded.config.data.dir == "/var/lib/cdpd"


def test_every_file_that_it_names_exists_and_every_file_is_named() -> None:
    here = {path.name for path in UNITS.iterdir()} - {"README.md"}
    table = set(re.findall(r"`(cdpd[\w@.-]*\.(?:service|socket|sysusers))`", TEXT.partition("## Install")[0]))
    assert table == here
    for path in re.findall(r"\(\.\./([\w/.-]+)\)|`(etc/[\w.-]+\.\w+)`", TEXT):
        assert (UNITS.parent / (path[0] or path[1])).exists(), path


def test_every_metric_that_it_names_is_one() -> None:
    metrics = (UNITS.parent / "cdpd" / "metrics.py").read_text()
    named = set(re.findall(r"\b(cdpd_\w+)(?=[`{ ])", TEXT))
    assert named
    assert [name for name in named if f'"{name}"' not in metrics] == []


def test_every_command_that_it_names_is_one() -> None:
    known = set(BUILT_IN)
    spans = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL))
    code = "\n".join([*spans, *blocks("sh")])
    named = set(re.findall(r"(?:^|&& |bin/)cdpd ([a-z]+)\b", code, re.MULTILINE))
    assert {"check", "status", "doctor", "backup"} <= named
    assert named <= known


def test_its_figure_of_exposure_is_within_what_is_held() -> None:
    found = re.search(r"says ([\d.]+) \(of 10.*below ([\d.]+)\.", TEXT)
    assert found
    assert float(found[1]) <= float(found[2]) == MOST_EXPOSED


@pytest.mark.parametrize("text", blocks("ini"))
def test_its_drop_ins_are_sections_of_a_unit(text: str) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(text)
    assert parser.sections() == ["Socket"]


def test_its_blocks_are_of_known_kinds() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "toml", "ini", "nginx", "caddy"}
    for text in blocks("toml"):
        tomllib.loads(text)
