"""The whole daemon, hooks and a null destination: `python -m tests.bench.daemon [SECONDS]`; needs `wrk`.

Ids are random. Each load is sent for some seconds; the rate "all the way" counts until the last event of it
was delivered. Beside it, in the same run, a bare aiohttp + uvloop server that reads the body of the same requests.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from cdpd.control.client import ControlClient, NotRunning
from tests.bench.ingest import BATCH, EVENT, KEY, requests_per_second, run_server

CONFIG = f"""
[http]
listen = "127.0.0.1:0"

[sources.bench]
write_keys = ["{KEY}"]

[destinations.null]
"""
_ID = EVENT["messageId"]
UNIQUE = """
math.randomseed(os.time() + %d)
local parts = {}
local at = 1
while true do
  local from, to = template:find("%s", at, true)
  if not from then parts[#parts + 1] = template:sub(at) break end
  parts[#parts + 1] = template:sub(at, from - 1)
  at = to + 1
end
request = function()
  local out = {}
  for i = 1, #parts do
    out[#out + 1] = parts[i]
    if i < #parts then
      local a, b, c = math.random(0, 2^31 - 1), math.random(0, 2^31 - 1), math.random(0, 2^31 - 1)
      out[#out + 1] = string.format("bench-%%08x%%08x%%08x", a, b, c)
    end
  end
  return wrk.format(nil, nil, nil, table.concat(out))
end
"""


class Measured(Struct):
    """One load, events a second."""

    bare: float
    acknowledged: float
    all_the_way: float
    cpu_us: float
    """Of processor time an event, all the way."""


class Running:
    """A daemon on one core."""

    def __init__(self, folder: Path) -> None:
        (folder / "cdpd.toml").write_text(CONFIG)
        command = [
            sys.executable,
            "-m",
            "cdpd",
            "run",
            "--config",
            str(folder / "cdpd.toml"),
            "--data-dir",
            str(folder / "data"),
        ]
        self._log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", *command], stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().partition("127.0.0.1:")[2].partition(";")[0])
        self._control = ControlClient(folder / "data" / "control.sock")

    def status(self) -> dict[str, Any]:
        try:
            return self._control.status()
        except NotRunning as error:
            raise SystemExit(f"the daemon ended: {error}") from None

    def delivered(self) -> int:
        return int(self.status()["destinations"]["null"]["delivered"])

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self._log.close()


def measure(seconds: float) -> dict[str, Measured]:
    """Name of the load → its rates."""
    event = json.dumps(EVENT, separators=(",", ":")).encode()
    batch = b'{"batch":[' + b",".join([event] * BATCH) + b"]}"
    loads = {"single": ("/v1/track", event, 64, 1), "batch": ("/v1/batch", batch, 16, BATCH)}
    found = {}
    context = multiprocessing.get_context("spawn")
    for number, (load, (path, body, connections, events)) in enumerate(loads.items()):
        unique = UNIQUE % (number, _ID)
        here, there = context.Pipe()
        bare = context.Process(target=run_server, args=("bare aiohttp", there), daemon=True)
        bare.start()
        port = here.recv()
        bare_rate = requests_per_second(port, path, body, connections, seconds, unique) * events
        bare.terminate()
        bare.join()
        with tempfile.TemporaryDirectory(prefix="cdpd-bench-") as folder:
            daemon = Running(Path(folder))
            begun, cpu = time.monotonic(), daemon.cpu_seconds()
            acknowledged = requests_per_second(daemon.port, path, body, connections, seconds, unique) * events
            sent = int(daemon.status()["streams"]["received"]["end"])
            while daemon.delivered() < sent:
                time.sleep(0.05)
            took = time.monotonic() - begun
            found[load] = Measured(
                bare_rate, acknowledged, sent / took, (daemon.cpu_seconds() - cpu) / sent * 1e6
            )
            daemon.stop()
    return found


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed")
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(
        f"{'':8}{'bare/s':>12} {'acknowledged/s':>16} {'of bare':>8} {'all the way/s':>15} {'of bare':>8} {'cpu µs':>8}"
    )
    for load, rates in measure(seconds).items():
        print(
            f"{load:8}{rates.bare:12,.0f} {rates.acknowledged:16,.0f} {rates.acknowledged / rates.bare:8.2f} "
            f"{rates.all_the_way:15,.0f} {rates.all_the_way / rates.bare:8.2f} {rates.cpu_us:8.1f}"
        )


if __name__ == "__main__":
    main()
