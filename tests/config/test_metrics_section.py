"""[metrics]: what `cdpd check` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.config.load import load
from cdpd.config.problem import ConfigError
from cdpd.secret import Secret

from .catalogue import FakeCatalogue

SOURCE = '[sources.website]\nwrite_keys = ["wk_website_4f1c"]\n'
GOOD_TOKEN = "token = '0123456789abcdef'"


def checked(folder: Path, text: str) -> list[str]:
    """Mistakes, else warnings."""
    path = folder / "cdpd.toml"
    path.write_text(f"[metrics]\n{text}\n{SOURCE}")
    path.chmod(0o600)
    try:
        return [
            str(problem) for problem in load(path, catalogue=FakeCatalogue(), environ={"EMPTY": ""}).warnings
        ]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", None),
        ('listen = "127.0.0.1:9187"', None),
        ('listen = "unix:/run/cdpd/metrics.sock"', None),
        (f'listen = ":9187"\n{GOOD_TOKEN}', None),
        ('listen = ":9187"', "2:10: metrics.listen: every machine that reaches this address can read"),
        ('listen = "9187"', "2:10: metrics.listen: '9187' is no address to listen on"),
        ('listen = "https://:9187"', "2:10: metrics.listen: metrics are not served over TLS"),
        (GOOD_TOKEN, None),
        ('token = "abc"', "2:9: metrics.token: a token this short can be guessed"),
        ('token = " "', "2:9: metrics.token: the token is empty"),
        ("token = 7", "2:9: metrics.token: this is a secret: write"),
        ("tokn = 7", "2:1: metrics.tokn: unknown key"),
    ],
)
def test_a_mistake_or_a_risk_is_told_with_its_place(tmp_path: Path, text: str, said: str | None) -> None:
    found = checked(tmp_path, text)
    assert len(found) == (said is not None), found
    assert said is None or said in found[0]
    assert not any("0123456789abcdef" in text for text in found)


def test_a_token_in_a_file_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    path.write_text(f"[metrics]\n{GOOD_TOKEN}\n{SOURCE}")
    path.chmod(0o644)
    (warning,) = load(path, catalogue=FakeCatalogue(), environ={}).warnings
    assert "a secret in a file that every user of this machine can read" in str(warning)


def test_the_token_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef\n")
    path = tmp_path / "cdpd.toml"
    path.write_text(f'[metrics]\ntoken = {{ file = "{tmp_path}/token" }}\n{SOURCE}')
    assert load(path, catalogue=FakeCatalogue(), environ={}).config.metrics.token == Secret(
        "0123456789abcdef"
    )
