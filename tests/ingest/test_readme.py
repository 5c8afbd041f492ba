"""cdpd/ingest/README.md tells what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

from cdpd.config.model import Config
from cdpd.config.source_rules import broken_source_rules
from cdpd.ingest import routes

README = Path(routes.__file__).with_name("README.md")
PACKAGE = README.parent


def test_the_sources_in_it_can_be_configured() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    (sources,) = [tomllib.loads(block) for block in blocks if "[sources." in block]
    assert not list(broken_source_rules(sources))
    assert set(msgspec.convert(sources, Config).sources) == {"website", "backend"}


def test_every_code_of_a_refusal_is_in_its_table() -> None:
    told = set(re.findall(r"`([a-z_]+)`", README.read_text()))
    for path in PACKAGE.glob("*.py"):
        for code in re.findall(r"Refused\(\s*\d+,\s*\"([a-z_]+)\"", path.read_text()):
            assert code in told or code == "internal_error", f"{path.name} answers {code}"
