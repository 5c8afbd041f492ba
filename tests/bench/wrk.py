"""How much a server takes: `wrk` on the second core sends as fast as it is answered."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.bench.bodies import Bodies
from tests.bench.servers import TWO_CORES

_MARK = "################"
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["User-Agent"] = "bench/1"
wrk.headers["Authorization"] = "Basic d2tfYmVuY2g6"
math.randomseed(os.time())
local run = string.format("%08x", math.random(0, 2^31 - 1))
local count = 0
local bodies = {}
for line in io.lines("BODIES") do
  local parts, at = {}, 1
  while true do
    local from, to = line:find("MARK", at, true)
    if not from then parts[#parts + 1] = line:sub(at) break end
    parts[#parts + 1] = line:sub(at, from - 1)
    parts[#parts + 1] = "0000000000000000"
    at = to + 1
  end
  bodies[#bodies + 1] = parts
end
local turn = 0
local ready = {}
request = function()
  turn = turn % #bodies + 1
  if not UNIQUE then
    ready[turn] = ready[turn] or wrk.format(nil, nil, nil, table.concat(bodies[turn]))
    return ready[turn]
  end
  local parts = bodies[turn]
  for i = 2, #parts, 2 do
    count = count + 1
    parts[i] = string.format("%s%08x", run, count)
  end
  return wrk.format(nil, nil, nil, table.concat(parts))
end
"""


def need_wrk() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed (apt-get install wrk)")


def requests_per_second(
    port: int, events: int, connections: int, seconds: float, unique: bool = True
) -> float:
    """Requests of so many events each that were answered 200 a second.

    `unique`: their ids never come twice, which costs wrk so much that a bare server waits for it with batches.
    """
    bodies = Bodies(7)
    lines = []
    for _ in range(400 if events == 1 else 12):
        made = [bodies.event() | {"messageId": f"bench-{_MARK}"} for _ in range(events)]
        lines.append(bodies.dumped(made[0] if events == 1 else {"batch": made}))
    with tempfile.TemporaryDirectory() as folder:
        path = "/v1/track" if events == 1 else "/v1/batch"
        prepared, script = Path(folder) / "bodies", Path(folder) / "post.lua"
        prepared.write_bytes(b"\n".join(lines))
        script.write_text(
            _SCRIPT.replace("BODIES", str(prepared))
            .replace("MARK", _MARK)
            .replace("UNIQUE", "true" if unique else "false")
        )
        command = ["taskset", "-c", "1"] if TWO_CORES else []
        command += ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "-s", str(script)]
        ran = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True
        )
    if "Non-2xx" in ran.stdout:
        raise SystemExit(f"the server refused requests:\n{ran.stdout}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", ran.stdout)
    assert found, ran.stdout
    return float(found[1])
