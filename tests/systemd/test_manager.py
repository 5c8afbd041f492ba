"""The units under a real systemd: in a container of its own (systemd-nspawn over this machine's files), as root.

What the container changes is thrown away with it. The daemon there is this checkout, run by this Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.services import program

ROOT = Path(__file__).parents[2]
CONFIG = """
[http]
listen = ["127.0.0.1:8080", "https://127.0.0.1:8443", "unix:/run/cdpd/http.sock"]
unix_mode = "0666"
trusted_proxies = ["unix"]

[http.tls]
certificate = "web.pem"
key = { credential = "web.key" }

[data]
dir = "/var/lib/cdpd"

[sources.web]
write_keys = ["wk_manager_web"]

[destinations.copy]
type = "file"
path = "/var/lib/cdpd/copy.ndjson"
"""
BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
cd "$1/root"
echo 0123456789abcdef0123456789abcdef > etc/machine-id
rm -rf etc/systemd/system/*.wants
mkdir -p opt/cdpd/current/bin opt/cdpd/python opt/cdpd/site opt/cdpd/source etc/systemd/system/multi-user.target.wants
cat > opt/cdpd/current/bin/cdpd <<'END'
#!/bin/sh
export LD_LIBRARY_PATH=/opt/cdpd/python/lib PYTHONPATH=/opt/cdpd/source:/opt/cdpd/site PYTHONDONTWRITEBYTECODE=1
exec /opt/cdpd/python/bin/python3 -P -m cdpd "$@"
END
chmod 755 opt/cdpd/current/bin/cdpd
cat > etc/systemd/system/scenario.service <<'END'
[Unit]
SuccessAction=poweroff
FailureAction=poweroff-force
[Service]
Type=oneshot
TimeoutStartSec=150
ExecStart=/bin/bash /scenario.sh
ExecStopPost=-/bin/sh -c 'journalctl --no-pager -o cat > /out/journal'
END
ln -s ../scenario.service etc/systemd/system/multi-user.target.wants/
exec systemd-nspawn --quiet --directory=. --boot --register=no --keep-unit --private-network --console=pipe \\
  --bind="$2:/out" --bind-ro="$3:/units" --bind-ro="$4:/scenario.sh" \\
  --bind-ro="$5:/opt/cdpd/python" --bind-ro="$6:/opt/cdpd/site" --bind-ro="$7:/opt/cdpd/source" \\
  systemd.unit=multi-user.target
"""
EXPECTED = {
    "start": "0",
    "http": "200",
    "https": "200",
    "unix": "200",
    "seccomp": "2",
    "capabilities": "0000000000000000",
    "user": "cdpd",
    "data": "700 cdpd",
    "command": "state:running",
    "reload": "0",
    "refused": "1",
    "reason": "1",
    "after": "200",
    "wrong": "0 2",
    "mended": "0",
    "stop": "success 0",
    "watchdog": "1",
    "again": "active",
    "before": "inactive",
    "first": "200",
    "codes": "40 200",
    "https_socket": "200",
    "both": "200",
    "shop": "200",
    "shop_reload": "0",
    "shop_processes": "4",
    "shop_stop": "success",
    "shop_data": "/var/lib/private/cdpd-shop",
}


def can_mount() -> bool:
    """Whether this process may make mounts of its own: root, and not in a container that forbids it."""
    if os.geteuid() != 0:
        return False
    over = "lowerdir=/,upperdir=/mnt/a,workdir=/mnt/b"
    script = f"mount -t tmpfs tmpfs /mnt && mkdir /mnt/a /mnt/b && mount -t overlay overlay -o {over} /mnt"
    return subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True).returncode == 0


def test_the_service_runs_as_its_units_say(tmp_path: Path) -> None:
    program("systemd-nspawn", "systemd-container")
    program("curl")
    if not can_mount():
        pytest.skip("needs root with the right to mount")
    mounts, out = tmp_path / "mounts", tmp_path / "out"
    mounts.mkdir()
    out.mkdir()
    (out / "cdpd.toml").write_text(CONFIG)
    make_certificate(out, "web")
    (out / "said").touch()
    places = [
        *(mounts, out, ROOT / "systemd", Path(__file__).with_name("scenario.sh")),
        *(Path(sys.base_prefix), Path(sysconfig.get_path("purelib")), ROOT),
    ]
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", BOOT, "boot", *map(str, places)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    said = dict(line.split(": ", 1) for line in (out / "said").read_text().splitlines())
    if not said:
        pytest.skip(f"systemd does not come up in a container here: {done.stderr.strip()[-500:]}")
    status = said.pop("status", "")
    assert said == EXPECTED, (out / "journal").read_text() if (out / "journal").exists() else done.stderr
    assert status == (
        "on http://127.0.0.1:8080, https://127.0.0.1:8443, unix:/run/cdpd/http.sock; "
        "all events processed; 1 destination"
    )
