"""The units: systemd finds nothing wrong with them, they are as closed as promised, and they say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cdpd.delivery.delivery import GRACE as DELIVERY_GRACE
from cdpd.ingest.handed import TLS_NAME
from cdpd.ingest.ingest import GRACE as FRESH_GRACE
from cdpd.ingest.server import DRAIN
from cdpd.pipeline.finishing import GRACE as COMMIT_GRACE
from tests.services import program

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ("cdpd.service", "cdpd@.service")
MOST_EXPOSED = 1.5
COMMAND = "/opt/cdpd/current/bin/cdpd"


def settings(unit: str) -> dict[str, list[str]]:
    """Key → its values, in order; comments left out."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_is_hardly_exposed(unit: str) -> None:
    analyze = program("systemd-analyze", "systemd")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(UNITS / unit)],
        capture_output=True,
        text=True,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSED, done.stdout


def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    names = ("cdpd.service", "cdpd.socket", "cdpd-https.socket", "cdpd@shop.service", "cdpd@shop.socket")
    for name in names:
        text = (UNITS / name.replace("@shop", "@")).read_text()
        # What is not installed here; the rest is as it stands. Templates are judged as an instance.
        (tmp_path / name).write_text(text.replace(COMMAND, sys.executable))
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_workspaces_service_is_like_the_only_one() -> None:
    only, workspace = map(settings, SERVICES)
    different = {key for key in {*only, *workspace} if only.get(key) != workspace.get(key)}
    assert different == {"Description", "ExecStart", "ExecReload", "StateDirectory", "RuntimeDirectory"}
    for key in different - {"Description"}:
        (one,), (other,) = only[key], workspace[key]
        assert other in (one.replace("/etc/cdpd/", "/etc/cdpd/%i/"), f"{one}-%i")


def test_a_stop_gets_the_time_that_the_daemon_may_take() -> None:
    (seconds,) = settings("cdpd.service")["TimeoutStopSec"]
    assert int(seconds) > FRESH_GRACE + DRAIN + DELIVERY_GRACE + COMMIT_GRACE + 10


def test_the_names_of_sockets_say_which_speak_tls() -> None:
    names = {unit: settings(unit)["FileDescriptorName"][0] for unit in ("cdpd.socket", "cdpd-https.socket")}
    assert not names["cdpd.socket"].startswith(TLS_NAME)
    assert names["cdpd-https.socket"].startswith(TLS_NAME)


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert settings("cdpd.service")["RestartPreventExitStatus"] == ["2"]


@pytest.mark.parametrize("unit", SERVICES)
def test_what_the_daemon_needs_is_not_taken_from_it(unit: str) -> None:
    found = settings(unit)
    # The log tells a crash from a power loss by /proc/sys/kernel/random/boot_id (cdpd/log/files.py).
    assert "ProcSubset" not in found
    assert found["Type"] == ["notify"]  # notify-reload is newer than Debian 12
    assert set(found["RestrictAddressFamilies"][0].split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}
