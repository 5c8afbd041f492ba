"""The command line as a whole: help, exit codes, what it imports, and how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cdpd.cli.exits import MEANINGS
from cdpd.cli.registry import BUILT_IN, GROUPS
from tests.stored import event, store

from .conftest import Cdpd, in_a_process

COMMANDS = [
    *((name,) for name in BUILT_IN),
    ("log", "cat"), ("log", "ls"), ("log", "verify"), ("discarded", "ls"), ("discarded", "retry"), ("plugins", "show"),
    ("new", "hook"), ("new", "destination"),
    ("sources", "ls"), ("tokens", "ls"), ("tokens", "revoke"),
    ("log", "repair"), ("destinations", "reset"), ("destinations", "ls"), ("destinations", "forget"),
    ("parked", "ls"), ("parked", "show"), ("parked", "retry"), ("parked", "drop"),
]  # fmt: skip
HEAVY = ("aiohttp", "duckdb", "rich", "uvloop", "structlog", "asyncio", "hypothesis", "pluggy")


def test_the_help_says_what_it_is_for_and_names_every_command_and_exit_code(cdpd: Cdpd) -> None:
    ran = cdpd("--help")
    assert ran.code == 0
    for name, entry in BUILT_IN.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", ran.out, re.MULTILINE)
    for title in (*GROUPS, "Examples", "Exit codes"):
        assert f"\n{title}:\n" in ran.out
    for code, meaning in MEANINGS.items():
        assert re.search(rf"^  {code} +{meaning}$", ran.out, re.MULTILINE)
    assert max(map(len, ran.lines)) <= 100
    assert cdpd().out == cdpd("help").out == cdpd("-h").out == ran.out


LEADING_ON = {
    (name,) for name in ("log", "discarded", "parked", "sources", "tokens", "alerts", "destinations")
}
"""Commands that only lead to others, whose help has the examples."""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_that_names_it(cdpd: Cdpd, command: tuple[str, ...]) -> None:
    ran = cdpd(*command, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: cdpd {' '.join(command)}")
    assert "Traceback" not in ran.out
    if command not in LEADING_ON:
        assert re.search(rf"^    .*cdpd {' '.join(command)}", ran.out, re.MULTILINE), ran.out
    assert cdpd("help", *command[:1]).code == 0


def test_a_command_that_is_not_there_is_told_with_the_nearest(cdpd: Cdpd) -> None:
    ran = cdpd("tial")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "cdpd: there is no command 'tial'; did you mean \"tail\"?\n"
    assert "cdpd --help lists them" in cdpd("xyzzy").err


def test_an_option_before_the_command_is_told(cdpd: Cdpd) -> None:
    ran = cdpd("--config", "x", "run")
    assert ran.code == 2
    assert "--config goes after the command" in ran.err


def test_an_unknown_option_is_a_mistake_of_usage(cdpd: Cdpd) -> None:
    ran = cdpd("tail", "--form", "1")
    assert ran.code == 2
    assert "--from" in ran.err
    assert "Traceback" not in ran.err


def test_the_version_is_told_in_both_ways(cdpd: Cdpd) -> None:
    assert cdpd("version").out.startswith("cdpd ")
    assert cdpd("--version").out == cdpd("-V").out == cdpd("version").out
    assert cdpd("version", "--json").json.keys() == {"cdpd", "python", "platform"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",), ("version",), ("status",), ("reload",), ("check",), ("init", "--print"), ("log", "cat", "events"),
        ("log", "ls"), ("log", "verify"), ("discarded", "ls"), ("discarded", "retry", "--all"),
        ("parked", "ls"), ("parked", "drop", "--all"), ("pause", "--all"), ("resume", "--all"), ("destinations", "ls"),
        ("send", "--type", "track", "--event", "x", "--user", "u", "--url", "http://127.0.0.1:9", "--key", "k",
         "--retries", "0"),
        ("query", "--help"), ("tail", "--help"), ("run", "--help"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_light_command_imports_nothing_that_takes_long(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    store(tmp_path / "cdpd-data", "events", [event(1)])
    script = (
        "import sys; from cdpd.cli import main; main(sys.argv[1:]); "
        f"sys.stderr.write('loaded: ' + ' '.join(name for name in {HEAVY!r} if name in sys.modules) + '.')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr.endswith("loaded: ."), done.stderr


def test_a_reader_that_goes_away_ends_a_command_in_silence(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(number, properties={"text": "x" * 1000}) for number in range(300)])
    for arguments in (("log", "cat", "events"), ("query", "select * from events, range(100)", "--json")):
        program = [sys.executable, "-m", "cdpd", *arguments, "--data-dir", str(tmp_path)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_output_to_a_full_disk_is_told(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1)])
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cdpd", "log", "cat", "events", "--data-dir", str(tmp_path)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "cdpd: cannot write the output: no space left on device\n")


def test_the_program_is_called_as_it_is_installed() -> None:
    program = Path(sys.executable).with_name("cdpd")
    done = subprocess.run(
        [program, "version"], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout == in_a_process("version").out
