"""The README's configurations are right, and its package is what cdpd finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdpd.cli import main

README = Path(__file__).parents[1] / "README.md"


def test_the_configurations_pass_cdpd_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("CUSTOMERIO_SITE_ID", "CUSTOMERIO_API_KEY"):
        monkeypatch.setenv(name, "a-secret")
    monkeypatch.chdir(tmp_path)
    own, *more = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    assert more
    for blocks in ([own], [own, *more]):
        Path("cdpd.toml").write_text('[sources.web]\nwrite_keys = ["wk_readme_web"]\n' + "".join(blocks))
        assert main(["check"]) == 0, capsys.readouterr()
        said = capsys.readouterr().out
        assert "1 destination" in said
        assert "warning" not in said


def test_every_field_and_option_of_the_reference_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "customerio"]) == 0
    lines = capsys.readouterr().out.splitlines()
    own = lines[lines.index("Options of every destination:") :]
    fields = [at for at, line in enumerate(own) if re.match(r"  \w+  \(", line)]
    assert len(fields) > 20
    assert [own[at] for at in fields if not own[at + 1].startswith("    ")] == []
