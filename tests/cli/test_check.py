"""`cdpd check` and `cdpd init`: what a newcomer is told of a configuration. All rules: tests/config."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from .conftest import Cdpd

GOOD = """\
[pipeline]
hooks = []

[sources.website]
write_keys = ["wk_website_4f1c"]
"""


def write(text: str, name: str = "cdpd.toml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_good_configuration_is_summed_up(cdpd: Cdpd) -> None:
    write(GOOD.replace("hooks = []", 'hooks = ["spec", "dedup"]'))
    ran = cdpd("check")
    assert (ran.code, ran.out) == (0, "cdpd.toml: OK (1 source; hooks spec → dedup; 0 destinations)\n")


def test_every_mistake_is_told_with_file_line_column_and_a_way_out(cdpd: Cdpd) -> None:
    write(GOOD + '[http]\nlisen = "127.0.0.1:1"\n\n[log.events]\n  keep = "long"\n')
    write('[sources.app]\nwrite_key = "x"\n', "conf.d/app.toml")
    ran = cdpd("check")
    assert ran.code == 2
    assert ran.lines == [
        'cdpd.toml:7:1: error: http.lisen: unknown key; did you mean "listen"?',
        "cdpd.toml:10:10: error: log.events.keep: 'long' is no duration: write a number and s, m, h, d or w, "
        "like 90s, 12h or 7d, or forever",
        "conf.d/app.toml:1:10: error: sources.app.write_keys: missing: a list of strings is needed here",
        'conf.d/app.toml:2:1: error: sources.app.write_key: unknown key; did you mean "write_keys"?',
        "4 errors found",
    ]


def test_risky_settings_are_warned_of_and_fail_where_that_is_asked(cdpd: Cdpd) -> None:
    write(GOOD.replace("hooks = []", 'hooks = ["spec"]') + '[http]\nlisten = "0.0.0.0:8080"\n')
    ran = cdpd("check")
    assert ran.code == 0
    assert ran.lines[0].startswith(
        "cdpd.toml:7:10: warning: http.listen: 0.0.0.0:8080 can be reached from other machines, over HTTP without TLS"
    )
    assert ran.lines[-1].startswith("cdpd.toml: OK, with 1 warning (")
    assert cdpd("check", "--strict").code == 1


def test_json_tells_the_same_for_a_machine(cdpd: Cdpd) -> None:
    write(GOOD + "[http]\nlisen = 1\n")
    ran = cdpd("check", "--json")
    assert ran.code == 2
    assert ran.json == {
        "ok": False,
        "files": [],
        "errors": [
            {
                "message": "unknown key",
                "file": "cdpd.toml",
                "line": 7,
                "column": 1,
                "key": "http.lisen",
                "suggestion": 'did you mean "listen"?',
            }
        ],
        "warnings": [],
    }
    write(GOOD)
    ran = cdpd("check", "--json")
    assert (ran.code, ran.json["ok"], ran.json["files"]) == (0, True, ["cdpd.toml"])


def test_the_real_plugins_options_are_checked(cdpd: Cdpd) -> None:
    write(GOOD + '[destinations.signups]\ntype = "file"\npaht = "x"\n[destinations.out]\ntype = "webhok"\n')
    ran = cdpd("check")
    assert ran.code == 2
    assert 'cdpd.toml:8:1: error: destinations.signups.paht: unknown key; did you mean "path"?' in ran.lines
    assert any(
        line.startswith(
            "cdpd.toml:10:8: error: destinations.out.type: there is no destination 'webhok'; did you mean"
        )
        for line in ran.lines
    )


def test_a_missing_or_unreadable_file_is_told(cdpd: Cdpd, tmp_path: Path) -> None:
    ran = cdpd("check", "--config", tmp_path / "gone.toml")
    assert ran.code == 2
    assert "gone.toml: error: cannot be read: no such file or directory; `cdpd init` writes" in ran.out
    write("\x00")
    assert "cdpd.toml:1:1: error: not valid TOML" in cdpd("check").out


def test_init_writes_a_configuration_that_check_accepts(cdpd: Cdpd) -> None:
    ran = cdpd("init")
    assert ran.code == 0
    key = ran.lines[0].rpartition(" ")[2]
    assert ran.lines[0] == f"wrote cdpd.toml, with the write key {key}"
    assert ran.lines[1:] == ["next: cdpd check", "      cdpd run"]
    assert f'write_keys = ["{key}"]' in Path("cdpd.toml").read_text()
    assert not stat.S_IMODE(Path("cdpd.toml").stat().st_mode) & stat.S_IROTH
    checked = cdpd("check", "--strict")
    assert checked.code == 0, checked.out
    assert all(len(line) <= 120 for line in Path("cdpd.toml").read_text().splitlines())


def test_init_makes_a_new_key_each_time_and_can_only_show(cdpd: Cdpd) -> None:
    first, second = cdpd("init", "--print").out, cdpd("init", "--print").out
    assert first != second
    assert list(Path().iterdir()) == []


def test_init_never_overwrites(cdpd: Cdpd) -> None:
    write("mine = 1\n")
    ran = cdpd("init")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "cdpd: cdpd.toml exists already; move it away, or name another file\n"
    assert Path("cdpd.toml").read_text() == "mine = 1\n"


def test_init_elsewhere_names_the_file_in_what_to_do_next(cdpd: Cdpd, tmp_path: Path) -> None:
    ran = cdpd("init", tmp_path / "other.toml")
    assert ran.lines[1] == f"next: cdpd check --config {tmp_path / 'other.toml'}"
    ran = cdpd("init", tmp_path / "nowhere" / "x.toml")
    assert (ran.code, ran.err) == (
        1, f"cdpd: cannot write {tmp_path / 'nowhere' / 'x.toml'}: no such file or directory\n",
    )  # fmt: skip


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else_is_told(cdpd: Cdpd) -> None:
    write(GOOD).chmod(0)
    assert "cannot be read: permission denied" in cdpd("check").out
