"""`cdpd snippet`: which key, which host, and lines that no key can break. That they work: tests/clients."""

from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path

import pytest

from cdpd.cli.sdk import SDKS, Target, lines
from cdpd.config.data_folder import development_key

from .conftest import Cdpd, control_server

CONFIG = """\
[http]
public_url = "https://cdp.example.com/"
analytics_js = "umd"

[sources.website]
write_keys = ["wk_website_new", "wk_website_old"]
"""
APP = '\n[sources.app]\nwrite_keys = ["wk_app_4f1c"]\nenabled = false\n'
AWKWARD = "a\"b'c\\d$e</script>`f`#{g}%h&i"


def write(text: str = CONFIG) -> None:
    Path("cdpd.toml").write_text(text)


def test_every_sdk_is_shown_with_the_public_url_and_the_first_key(cdpd: Cdpd) -> None:
    write()
    ran = cdpd("snippet")
    assert (ran.code, ran.err) == (0, "")
    for name, sdk in SDKS.items():
        assert f"--- {sdk.title} (--sdk {name})" in ran.lines
    assert ran.out.count("wk_website_new") == len(SDKS)
    assert "wk_website_old" not in ran.out
    assert "segment.com" not in ran.out
    assert "<<" not in ran.out


def test_one_sdk_is_its_lines_and_nothing_else_so_that_they_can_go_into_a_file(cdpd: Cdpd) -> None:
    write()
    ran = cdpd(
        "snippet",
        "website",
        "--sdk",
        "browser",
        "--host",
        "https://e.example.com:8443",
        "--key",
        "wk_website_old",
    )
    assert ran.out.startswith("<script>")
    assert ran.out.endswith("</script>\n")
    assert 'load("wk_website_old"' in ran.out
    assert 'apiHost: "e.example.com:8443/v1", protocol: "https"' in ran.out


def test_json_is_for_machines(cdpd: Cdpd) -> None:
    write()
    said = cdpd("snippet", "--json", "--sdk", "curl").json
    assert said["source"] == "website"
    assert said["host"] == "https://cdp.example.com"
    assert said["key"] == "wk_website_new"
    assert said["sdks"]["curl"].startswith("curl -u wk_website_new: https://cdp.example.com/v1/track")


def test_the_list_needs_no_configuration(cdpd: Cdpd) -> None:
    ran = cdpd("snippet", "--list")
    assert [line.split()[0] for line in ran.lines] == list(SDKS)
    assert [entry["sdk"] for entry in cdpd("snippet", "--list", "--json").json] == list(SDKS)


def test_without_a_public_url_it_is_the_address_of_this_machine_and_that_is_said(
    cdpd: Cdpd, tmp_path: Path
) -> None:
    write('[sources.website]\nwrite_keys = ["wk_website_4f1c"]\n[http]\nlisten = "0.0.0.0:9"\n')
    ran = cdpd("snippet", "--sdk", "curl")
    assert "http://127.0.0.1:9/v1/track" in ran.out
    assert "http://127.0.0.1:9 is good on this machine only" in ran.err

    class Daemon:
        async def status(self) -> dict[str, object]:
            return {"listen": ["http://127.0.0.1:4711"]}

    with control_server(tmp_path / "data", Daemon()):
        ran = cdpd("snippet", "--sdk", "curl", "--data-dir", tmp_path / "data")
    assert "http://127.0.0.1:4711/v1/track" in ran.out


def test_the_development_daemons_key_is_used_where_there_is_no_configuration(
    cdpd: Cdpd, tmp_path: Path
) -> None:
    ran = cdpd("snippet", "--data-dir", tmp_path / "none")
    assert ran.code == 2
    assert "no configuration" in ran.err
    assert "cdpd run" in ran.err
    key = development_key(tmp_path / "data")
    assert f"curl -u {key}:" in cdpd("snippet", "--sdk", "curl", "--data-dir", tmp_path / "data").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say for which source: cdpd snippet SOURCE, one of website, app"),
        (["webste"], "there is no source 'webste'; did you mean \"website\"?"),
        (["x"], "there is no source 'x'; sources: website, app"),
        (["website", "--sdk", "pyton"], "there is no 'pyton'; did you mean \"python\"?"),
        (["website", "--key", "nope"], "source website has no such write key; it has wk_website_new, wk_website_old"),
        (["website", "--host", "cdp.example.com"], "write https://HOST, without a path"),
        (["website", "--host", "https://x.example/v1"], "write https://HOST, without a path"),
        (["website", "--host", "https://x';alert(1)//"], "write https://HOST, without a path"),
    ],
)  # fmt: skip
def test_what_cannot_be_filled_in_is_said_with_a_way_out(cdpd: Cdpd, arguments: list[str], said: str) -> None:
    write(CONFIG + APP)
    ran = cdpd("snippet", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_where_no_sdk_can_reach_the_daemon_the_address_is_asked_for(cdpd: Cdpd) -> None:
    write('[sources.website]\nwrite_keys = ["wk_website_4f1c"]\n[http]\nlisten = "127.0.0.1:0"\n')
    ran = cdpd("snippet")
    assert (ran.code, ran.out) == (2, "")
    assert "the daemon listens on http://127.0.0.1:0, where no SDK can reach it: say with --host" in ran.err


def test_what_will_not_work_is_warned_of(cdpd: Cdpd) -> None:
    write(CONFIG.replace('analytics_js = "umd"\n', "") + APP)
    said = cdpd("snippet", "app", "--host", "http://cdp.example.com").err
    assert "source app is not enabled" in said
    assert "set [http] analytics_js" in said
    assert "ruby, kotlin, swift: speaks https whatever it is told" in said
    assert cdpd("snippet", "website", "--sdk", "curl", "--host", "http://cdp.example.com").err == ""


@pytest.mark.parametrize("name", [name for name in SDKS if name != "curl"])
def test_no_key_breaks_out_of_its_quotes(name: str) -> None:
    usual = lines(name, Target("https://cdp.example.com", "wk"))
    text = lines(name, Target("https://cdp.example.com", AWKWARD))
    before, _, after = usual.partition("wk")
    assert text.startswith(before)
    assert text.endswith(after)
    assert AWKWARD not in text
    if name == "browser":
        assert text.count("</") == 1
    if name == "kotlin":
        assert "\\$e" in text


def test_a_literal_means_the_key_again() -> None:
    target = Target("https://cdp.example.com", AWKWARD)
    assert shlex.split(lines("curl", target))[2] == f"{AWKWARD}:"
    assigned = [
        node.value for node in ast.parse(lines("python", target)).body if isinstance(node, ast.Assign)
    ]
    assert ast.literal_eval(assigned[0]) == AWKWARD
    literal = lines("java", target).partition("builder(")[2].partition(").endpoint")[0]
    assert json.loads(literal) == AWKWARD
