"""`cdpd doctor` as a whole: with nothing there, with a daemon, with problems, for people and for machines."""

from __future__ import annotations

import socket
from pathlib import Path

import anyio.to_thread
import pytest

from cdpd.doctor.machine import Machine
from tests.doctor.machine import FakeMachine
from tests.running import running

from .conftest import Cdpd, in_a_process

CONFIG = '[http]\nlisten = "127.0.0.1:{port}"\n[sources.web]\nwrite_keys = ["wk_doctor_web"]\n'


def write(text: str) -> Path:
    path = Path("cdpd.toml")
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is well, whatever the one is that runs the tests."""
    machine = FakeMachine()
    machine.installed |= {"cdpd-daemon": Machine().version("cdpd-daemon")}
    monkeypatch.setattr("cdpd.doctor.machine.Machine", lambda: machine)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_with_nothing_there_it_looks_at_everything_and_makes_nothing(
    cdpd: Cdpd, well: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdpd.doctor.examine.check_listening", lambda *_: iter(()))  # 8080 may be anybody's
    ran = cdpd("doctor")
    assert ran.code == 0, ran.out
    checks = [line[9:].partition(":")[0] for line in ran.lines if line.startswith(("ok", "warning"))]
    assert checks == [
        "versions", "plugins", "configuration", "data folder", "filesystem", "disk sync", "disk space", "clock",
        "open files", "memory", "daemon",
    ]  # fmt: skip
    assert "warning  daemon: no daemon is running on cdpd-data" in ran.lines
    assert "         → start it: `systemctl start cdpd`, or `cdpd run`" in ran.lines
    assert ran.lines[-1] == "1 warning"
    assert list(Path().iterdir()) == []


def test_a_problem_fails_and_what_to_do_stands_below_it(cdpd: Cdpd, well: None) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        write(CONFIG.format(port=other.getsockname()[1]))
        ran = cdpd("doctor")
    assert ran.code == 1
    at = next(i for i, line in enumerate(ran.lines) if line.startswith("problem  listening: "))
    assert ran.lines[at + 1].startswith("         → stop that, or listen elsewhere")
    assert ran.lines[-1] == "1 problem, 1 warning"


def test_json_tells_the_same_for_a_machine(cdpd: Cdpd, well: None) -> None:
    write(CONFIG.format(port=free_port()) + "[http.x]\n")
    ran = cdpd("doctor", "--json", "--data-dir", "data")
    assert (ran.code, ran.json["ok"]) == (1, False)
    bad = [finding for finding in ran.json["findings"] if finding["state"] == "problem"]
    assert [finding["check"] for finding in bad] == ["configuration"]
    assert "unknown key" in bad[0]["text"]
    assert bad[0]["todo"]
    sync = next(finding for finding in ran.json["findings"] if finding["check"] == "disk sync")
    assert sync["facts"]["median_ms"] == 1.0


def test_a_file_that_is_no_toml_does_not_keep_it_from_the_rest(cdpd: Cdpd, well: None) -> None:
    write("\x00")
    ran = cdpd("doctor")
    assert ran.code == 1
    assert "problem  configuration: cdpd.toml:1:1: not valid TOML" in ran.out
    assert "ok       memory: " in ran.out
    assert "data folder" not in ran.out
    assert "data folder" in cdpd("doctor", "--data-dir", "data").out


async def test_a_running_daemon_is_well_and_its_folder_and_address_are_its_own(tmp_path: Path) -> None:
    port = free_port()
    config = CONFIG.format(port=port) + f'[destinations.copy]\ntype = "file"\npath = "{tmp_path}/x"\n'
    async with running(tmp_path / "run", config, listen=f"127.0.0.1:{port}") as daemon:

        def examine() -> list[str]:
            arguments = ("doctor", "--config", daemon.config, "--data-dir", daemon.data)
            return in_a_process(*arguments, cwd=tmp_path).lines

        lines = await anyio.to_thread.run_sync(examine)
    shown = {line.split(":")[0]: line for line in lines}
    assert f"running on {daemon.url}" in shown["ok       daemon"]
    assert shown["ok       listening"] == f"ok       listening: the daemon listens on {daemon.url[7:]}"
    assert shown["ok       destinations"] == "ok       destinations: well: copy"
    assert "ok       pipeline" in shown
    assert "ok       data folder" in shown
