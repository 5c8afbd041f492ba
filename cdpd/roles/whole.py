"""What several processes say of themselves, as the status of one daemon."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from cdpd.config.data_folder import STREAMS, stream_folder
from cdpd.config.load import LoadedConfig
from cdpd.log.folder import StreamFolder
from cdpd.roles.process import RoleProcess


def whole_status(
    *,
    state: str,
    uptime_ms: int,
    loaded: LoadedConfig,
    listen: Mapping[str, Any],
    processes: Sequence[RoleProcess],
    told: Sequence[Mapping[str, Any] | None],
) -> dict[str, Any]:
    """As `daemon_status`, with `processes` besides. `told`: what each says, None where it does not answer.

    `listen` stands in for a process that cannot say itself where it listens. Reads the streams' folders: for a thread.
    """
    merged: dict[str, Any] = {}
    counters: dict[str, dict[str, float]] = {}
    for one in told:
        for name, value in (one or {}).items():
            merged.setdefault(name, value)
        for name, counts in (one or {}).get("counters", {}).items():
            into = counters.setdefault(name, {})
            for labels, n in counts.items():
                into[labels] = into.get(labels, 0) + n
    missing = [process.name for process, one in zip(processes, told, strict=True) if one is None]
    whole = {
        "state": f"without {', '.join(missing)}" if missing and state == "running" else state,
        "version": version("cdpd-daemon"),
        "pid": os.getpid(),
        "uptime_seconds": uptime_ms // 1000,
        **listen,
    }
    whole |= {name: value for name, value in merged.items() if name not in whole or name in listen}
    whole |= {
        "data_dir": str(loaded.data_dir.resolve()),
        "configuration": [str(file) for file in loaded.files] or "none: development defaults",
        "processes": {
            process.name: {"state": process.state, "pid": process.pid, "starts": process.starts}
            for process in processes
        },
        "streams": {name: _stream(stream_folder(loaded.data_dir, name)) for name in STREAMS},
    }
    for last in ("pipeline", "destinations"):
        if last in whole:
            whole[last] = whole.pop(last)
    whole["counters"] = dict(sorted(counters.items()))
    return whole


def _stream(folder: Any) -> dict[str, int]:
    stream = StreamFolder(folder)
    begin, end = stream.begin(), stream.end().offset
    return {"begin": begin, "end": end, "lines": end - begin}
