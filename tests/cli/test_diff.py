"""`cdpd diff`: what it prints, and how it tells mistakes. The figures themselves: tests/compare."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cdpd import compare
from cdpd.config.data_folder import KEY_FILE
from cdpd.config.load import load
from cdpd.log.folder import StreamFolder
from tests.compare.traffic import handle, track
from tests.stored import store

from .conftest import Cdpd, control_server

README = (Path(compare.__file__).parent / "README.md").read_text()
OLD = """\
[pipeline]
hooks = ["spec", "dedup", "ip"]

[sources.website]
write_keys = ["wk_website_1"]
type = "javascript"

[sources.app]
write_keys = ["wk_app_1"]

[destinations.crm]
type = "webhook"
url = "https://crm.example.com/events"

[destinations.null]
"""
NEW = (
    OLD.replace('"ip"]', '"ip", "drop"]').replace(".com/events", ".com/v2/events")
    + """
[hooks.ip]
anonymize = true

[hooks.drop]
rules = [{ event = "Debug *" }]
"""
)


@pytest.fixture
def traffic(cdpd: Cdpd) -> Cdpd:
    """In a folder with both configurations, and forty events of two sources in `cdpd-data`."""
    Path("cdpd.toml").write_text(OLD)
    Path("new.toml").write_text(NEW)
    loaded = load(data_dir=Path("cdpd-data"))
    events = [
        track(n, "Debug Tick" if n % 8 == 3 else "Signed Up", context={"page": {"path": "/"}})
        for n in range(40)
    ]
    handle(
        loaded,
        [*events, events[0], track(41, type="trak")],
        source=lambda n: ("app", "website")[n % 4 > 0],
    )
    return cdpd


def test_the_report_is_the_one_in_its_readme(traffic: Cdpd) -> None:
    ran = traffic("diff", "--config", "new.toml", "--from", "beginning", "--samples", 1)
    assert (ran.code, ran.err) == (0, "")
    (shown,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    assert ran.out == shown


def test_the_commands_of_its_readme_run(traffic: Cdpd) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    commands = [shlex.split(line.partition(" #")[0].partition(" |")[0]) for line in block.splitlines()]
    assert len(commands) >= 4
    for _, *arguments in commands:
        ran = traffic(*arguments)
        assert (ran.code, ran.err) == (0, ""), arguments


def test_json_has_the_same_facts(traffic: Cdpd) -> None:
    report = traffic("diff", "--config", "new.toml", "--from", "0", "--json").json
    assert report["counts"] == {
        "events": 41,
        "same": 1 + 10,
        "discarded": 5,
        "kept": 0,
        "changed": 25,
        "otherwise": 0,
        "undecided": 0,
    }
    assert [row["name"] for row in report["destinations"]] == ["crm", "null"]
    sample = report["hooks"][0]["samples"][0]
    assert (sample["before"]["context"]["ip"], sample["after"]["context"]["ip"]) == (
        "203.0.113.7",
        "203.0.113.0",
    )


def test_the_exit_code_tells_of_differences_when_it_is_to(traffic: Cdpd) -> None:
    Path("same.toml").write_text(OLD)
    assert traffic("diff", "--config", "new.toml", "--from", "0", "--exit-code").code == 1
    ran = traffic("diff", "--config", "same.toml", "--from", "0", "--exit-code")
    assert ran.code == 0
    assert ran.lines[-1] == "No event would fare otherwise: all hooks and destinations are the same."
    only = "--source", "website", "--event", "Home"
    ran = traffic("diff", "--config", "new.toml", "--from", "0", "--exit-code", *only)
    assert ran.code == 0
    assert ran.out.startswith("no event of source 'website' called 'Home' was received; there are 42 lines")


def test_a_wrong_configuration_is_told_as_check_does(traffic: Cdpd) -> None:
    Path("new.toml").write_text(NEW.replace('"drop"]', '"dorp"]'))
    checked = traffic("check", "--config", "new.toml")
    ran = traffic("diff", "--config", "new.toml")
    assert ran.code == checked.code == 2
    assert checked.lines[0].replace("error: ", "") in ran.err
    assert 'did you mean "drop"?' in ran.err


def test_a_hook_that_cannot_start_is_told_and_no_traceback(traffic: Cdpd) -> None:
    Path("new.toml").write_text(OLD.replace('"ip"]', '"geo"]') + '[hooks.geo]\npath = "missing.mmdb"\n')
    ran = traffic("diff", "--config", "new.toml", "--from", "0")
    assert ran.code == 1
    assert ran.err.startswith("cdpd: hook 'geo' did not start: DatabaseError")


def test_where_nothing_was_received_in_that_time_it_says_what_there_is(traffic: Cdpd) -> None:
    ran = traffic("diff", "--config", "new.toml")
    assert ran.code == 0
    assert re.fullmatch(
        r"no event was received since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; there are 42 lines, "
        r"from 2026-01-31 12:00:00 UTC to 2026-01-31 12:00:04 UTC \(--last, --from and --to choose\)\n",
        ran.out,
    )
    store(Path("empty"), "received", [])
    ran = traffic("diff", "--config", "new.toml", "--data-dir", "empty")
    assert (ran.code, ran.out) == (0, "nothing was received yet\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "say which configuration to try: cdpd diff --config NEW.toml"),
        (("--config", "cdpd.toml"), 2, "both configurations are cdpd.toml: copy it and change the copy"),
        (("--config", "new.toml", "--last", "soon"), 2, "--last 'soon' is no duration"),
        (("--config", "new.toml", "--last", "1h", "--from", "1h"), 2, "either --last or --from, not both"),
        (("--config", "new.toml", "--to", "soon"), 2, "'soon' is no place in a stream"),
        (("--config", "missing.toml"), 2, "missing.toml: cannot be read: no such file or directory"),
        (("--config", "new.toml", "--data-dir", "nowhere"), 1, "nothing is stored in nowhere yet"),
    ],
)
def test_mistakes_are_told_with_a_way_out(
    traffic: Cdpd, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ran = traffic("diff", *arguments)
    assert ran.code == code
    assert message in ran.err


def test_without_a_configuration_in_use_it_asks_for_one(traffic: Cdpd) -> None:
    Path("cdpd.toml").rename("old.toml")
    ran = traffic("diff", "--config", "new.toml", "--data-dir", "cdpd-data")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "cdpd: no configuration is found here: name the one that is in use with --old\n"
    assert not (Path("cdpd-data") / KEY_FILE).exists()
    assert traffic("diff", "--old", "old.toml", "--config", "new.toml", "--from", "0").code == 0


class Daemon:
    """Answers `status` alone."""

    def __init__(self, **status: object) -> None:
        self._status = status

    async def status(self) -> dict[str, object]:
        return self._status


@pytest.mark.parametrize("same", [True, False])
def test_it_says_where_the_daemon_that_runs_has_another_configuration(traffic: Cdpd, same: bool) -> None:
    id = f"{load().config_id:016x}" if same else "0123456789abcdef"
    with control_server(Path("cdpd-data"), Daemon(configuration_id=id)):
        ran = traffic("diff", "--config", "new.toml", "--from", "0", "--json")
    told = any(
        "the daemon that runs has other hooks or sources than cdpd.toml" in note for note in ran.json["notes"]
    )
    assert told is not same


def test_ctrl_c_ends_it_with_the_figures_so_far(traffic: Cdpd) -> None:
    program = (
        "import sys, cdpd.compare.span as span\n"
        "read = span.Span.read\n"
        "def slowly(self):\n"
        "    for piece in read(self):\n"
        "        yield piece\n"
        "        print('one', file=sys.stderr, flush=True)\n"
        "        sys.stdin.readline()\n"
        "span._LINES = 10\n"
        "span.Span.read = slowly\n"
        "from cdpd.cli import main\n"
        "sys.exit(main(['diff', '--config', 'new.toml', '--from', '0', '--json']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stdout is not None
        assert process.stderr.readline() == "one\n"
        process.send_signal(signal.SIGINT)
        process.stdin.write("\n")
        out, _ = process.communicate()
    assert process.returncode == 130
    report = msgspec.json.decode(out)
    assert report["looked"]["complete"] is False
    assert 0 < report["looked"]["events"] < 41


def test_nothing_is_written_to_the_data_folder(traffic: Cdpd) -> None:
    def listing() -> list[tuple[str, int, int]]:
        return sorted(
            (str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in Path("cdpd-data").rglob("*")
        )

    before = listing()
    end = StreamFolder(Path("cdpd-data/log/events")).end()
    traffic("diff", "--config", "new.toml", "--from", "0")
    assert listing() == before
    assert StreamFolder(Path("cdpd-data/log/events")).end() == end
