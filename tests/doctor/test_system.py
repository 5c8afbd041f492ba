"""Clock, limits, memory and versions: well, and each thing that may be wrong."""

from __future__ import annotations

import pytest

from cdpd.doctor.machine import Machine, Memory, mount_of
from cdpd.doctor.system import check_clock, check_memory, check_open_files, check_versions

from .machine import GIB, FakeMachine, only, told

MIB = 1024**2


@pytest.mark.parametrize(
    ("synchronised", "state", "text"),
    [
        (True, "ok", "it is kept right (synchronised)"),
        (False, "warning", "nothing keeps it right: times of events and retention go by it"),
        (None, "ok", "this system does not say whether it is synchronised"),
    ],
)
def test_the_clock(synchronised: bool | None, state: str, text: str) -> None:
    assert told(check_clock(FakeMachine(synchronised=synchronised))) == [("clock", state, text)]


@pytest.mark.parametrize(
    ("limit", "state"),
    [
        (256, "problem"),
        (1023, "problem"),
        (1024, "warning"),
        (8191, "warning"),
        (8192, "ok"),
        (2**63 - 1, "ok"),
    ],
)
def test_too_few_open_files_are_told(limit: int, state: str) -> None:
    finding = only(check_open_files(FakeMachine(files_limit=limit)))
    assert finding.state == state
    assert ("LimitNOFILE=" in finding.todo) == (state != "ok")


@pytest.mark.parametrize(
    ("memory", "state", "text"),
    [
        (Memory(8 * GIB, 4 * GIB), "ok", "8.0 GiB (this machine), 4.0 GiB of the machine's available"),
        (Memory(200 * MIB, 100 * MIB), "problem", "200.0 MiB (this machine)"),
        (Memory(8 * GIB, 4 * GIB, 128 * MIB), "problem", "128.0 MiB (this control group's limit)"),
        (Memory(300 * MIB, 290 * MIB), "warning", "128.0 MiB of it may be taken by bodies in flight"),
        (Memory(8 * GIB, 20 * MIB), "warning", "20.0 MiB of the machine's available"),
    ],
)
def test_too_little_memory_is_told(memory: Memory, state: str, text: str) -> None:
    finding = only(check_memory(FakeMachine(ram=memory), 128 * MIB))
    assert finding.state == state
    assert text in finding.text


def test_a_system_that_does_not_tell_its_memory_is_not_judged() -> None:
    assert list(check_memory(FakeMachine(ram=None), 1)) == []


def test_versions_that_fit_are_shown() -> None:
    finding = only(check_versions(FakeMachine()))
    assert finding.state == "ok"
    assert finding.text.startswith("cdpd 0.1.0, Python 3.")
    assert finding.text.endswith(", uvloop 0.22.1, zstandard 0.23.0")
    assert finding.facts["uvloop"] == "0.22.1"


@pytest.mark.parametrize(
    ("installed", "state", "text"),
    [
        ({"msgspec": None}, "problem", "missing or too old: msgspec"),
        ({"msgspec": "0.9.9"}, "problem", "missing or too old: msgspec 0.9.9 (at least 0.19 is needed)"),
        ({"msgspec": "0.19.0rc1"}, "ok", "msgspec"),
        ({"uvloop": None}, "warning", "uvloop is not installed: the daemon works, and is slower"),
    ],
)
def test_packages_that_are_missing_or_too_old_are_told(
    installed: dict[str, str | None], state: str, text: str
) -> None:
    machine = FakeMachine()
    machine.installed |= installed
    finding = only(check_versions(machine))
    assert finding.state == state
    assert state == "ok" or text in finding.text


def test_what_our_own_metadata_says_can_be_read() -> None:
    assert only(check_versions(Machine())).state in ("ok", "warning")
    assert any(name.startswith("msgspec") for name in Machine().requirements())


MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 0:25 / /var rw,nosuid shared:5 - xfs /dev/sdb rw
31 30 0:26 / /var/lib/my\040data rw - nfs4 host:/x rw
32 30 0:27 / /var/lib/my\040data rw - tmpfs none rw
33 22 0:28 / /var2 ro - overlay overlay rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind", "point"),
    [
        ("/home/x", "ext4", "/"),
        ("/var/lib/cdpd", "xfs", "/var"),
        ("/var", "xfs", "/var"),
        ("/var20", "ext4", "/"),
        ("/var/lib/my data/log", "tmpfs", "/var/lib/my data"),
    ],
)
def test_a_path_lies_on_the_mount_nearest_around_it_and_the_latest_there(
    path: str, kind: str, point: str
) -> None:
    mount = mount_of(path, MOUNTS)
    assert mount is not None
    assert (mount.kind, mount.point) == (kind, point)


def test_what_is_no_mount_line_is_left_out() -> None:
    assert mount_of("/x", "nonsense\n\n1 2 3 - \n") is None
    found = mount_of("/var2/x", MOUNTS)
    assert found is not None
    assert "ro" in found.options


def test_the_real_machine_answers(tmp_path: object) -> None:
    machine = Machine()
    assert machine.now_ms() > 1_700_000_000_000
    assert machine.clock_is_synchronised() in (True, False, None)
    assert machine.open_files_limit() > 0
    memory = machine.memory()
    assert memory is None or memory.total > memory.available > 0
    assert machine.version("no-such-package-of-anybody") is None
