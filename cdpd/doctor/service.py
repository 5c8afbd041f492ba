"""The daemon: is it running on the data folder, is it well, and are the addresses its own to listen on?"""

from __future__ import annotations

import errno
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cdpd.cli.output import plural
from cdpd.config.address import Listen
from cdpd.config.data_folder import SOCKET
from cdpd.control.client import ControlClient, ControlRefused, NoAnswer, NotRunning
from cdpd.doctor.finding import Finding, ok, problem, warning
from cdpd.doctor.machine import Machine
from cdpd.doctor.ports import owner_of_port

FAR_BEHIND: Final = 10_000
"""Events that the pipeline may be behind before it is told."""
LONG_LAG: Final = 3600
"""Seconds that a destination may be behind before it is told."""
_PATIENCE: Final = 5.0
_LOG_SAYS: Final = "its log says more: journalctl -u cdpd"
_WAITS: Final = ("paused", "stopped", "waiting")
"""States of a destination in which nothing is sent until somebody does something."""

Status = dict[str, Any]


def ask_daemon(data_dir: Path, patience: float = _PATIENCE) -> tuple[list[Finding], Status | None]:
    """How it answers on its control socket, and what."""
    check = "daemon"
    path = data_dir / SOCKET
    try:
        status = ControlClient(path, timeout=patience).status()
    except NoAnswer as error:
        return [problem(check, str(error), "is it stopped or out of memory? `systemctl restart cdpd`")], None
    except NotRunning as error:
        todo = "start it: `systemctl start cdpd`, or `cdpd run`"
        text = f"{error}; {SOCKET} is left from one that was killed" if path.exists() else str(error)
        return [warning(check, text, todo)], None
    except ControlRefused as error:
        todo = "ask as that user, or as root" if error.code == "forbidden" else _LOG_SAYS
        return [problem(check, str(error), todo)], None
    except OSError as error:
        return [problem(check, f"{path}: {(error.strerror or str(error)).lower()}", _LOG_SAYS)], None
    return [], status


def check_daemon(status: Status, machine: Machine) -> Iterator[Finding]:
    """What a running daemon tells of itself."""
    check = "daemon"
    pid, version, state = status.get("pid"), status.get("version"), status.get("state")
    installed = machine.version("cdpd-daemon")
    if str(state).startswith("without "):  # roles in processes of their own: one does not answer
        yield problem(check, f"it runs {state}", f"that is started again by itself; {_LOG_SAYS}")
    elif state != "running":
        yield warning(check, f"process {pid} is {state}", "wait a moment, and look again")
    elif version != installed:
        yield warning(
            check,
            f"version {version} is running, and {installed} is installed",
            "restart it: `systemctl restart cdpd`",
        )
    else:
        where = ", ".join(status.get("listen", []))
        yield ok(check, f"running on {where}: version {version}, process {pid}")
    processes = {"the daemon": pid}
    processes |= {f"the process {name}": one.get("pid") for name, one in status.get("processes", {}).items()}
    for name, number in processes.items():
        if isinstance(number, int):
            yield from _files(name, number, machine)
    if "pipeline" in status:
        yield from _pipeline(status["pipeline"])
    yield from _destinations(status.get("destinations", {}))


def _files(name: str, pid: int, machine: Machine) -> Iterator[Finding]:
    try:
        used, limit = machine.open_files(pid), machine.open_files_limit(pid)
    except OSError:
        return  # another user's process
    if used > limit * 0.8:
        yield problem(
            "open files",
            f"{name} has {used:,} files open, of {limit:,} that it may have",
            "raise the limit (LimitNOFILE= in the unit); `ss -tnp | grep cdpd` shows who holds connections",
            used=used,
            limit=limit,
        )


def _pipeline(status: Mapping[str, Any]) -> Iterator[Finding]:
    check = "pipeline"
    state, behind = status.get("state"), int(status.get("behind", 0))
    if state in ("waiting", "stopped", "failed"):
        reason = f": {status['reason']}" if status.get("reason") else ""
        yield problem(
            check, f"{state}{reason} ({behind:,} events wait)", f"mend that, then restart; {_LOG_SAYS}"
        )
    elif behind > FAR_BEHIND:
        hooks = status.get("hooks", {})
        slowest = max(hooks, key=lambda name: hooks[name].get("seconds", 0), default="")
        hint = f"; most time went to the hook {slowest}" if slowest else ""
        yield warning(
            check, f"{behind:,} events behind", f"wait, and look again: is it falling?{hint}", behind=behind
        )
    else:
        yield ok(check, f"{behind:,} events behind", behind=behind)


def _destinations(destinations: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    well = []
    for name, status in destinations.items():
        finding = _destination(name, status)
        if finding is None:
            well.append(name)
        else:
            yield finding
    if well:
        yield ok("destinations", f"well: {', '.join(well)}")


def _destination(name: str, status: Mapping[str, Any]) -> Finding | None:
    check = "destinations"
    state, lag = status.get("state"), status.get("lag_seconds") or 0
    events = f"{status.get('lag_events') or 0:,} events wait"
    said = status.get("problem") or status.get("last_error") or "it does not say why"
    if state in _WAITS:
        return problem(
            check, f"{name} is {state}: {said} ({events})", "mend its configuration, then `cdpd reload`"
        )
    if state == "retrying":
        since = f" since {status['failing_since']}" if status.get("failing_since") else ""
        return warning(
            check, f"{name} is failing{since}: {said} ({events})", "nothing is lost: it is tried again"
        )
    if status.get("parked"):
        text = f"{name} has {plural(int(status['parked']), 'parked event')}, which it refused"
        return warning(check, text, "`cdpd status` and its log tell the last reason")
    if lag > LONG_LAG:
        text = f"{name} is {plural(int(lag) // 60, 'minute')} behind ({events})"
        return warning(
            check, text, "is it slow? see `ordering`, `batch` and its rate limits", lag_seconds=lag
        )
    return None


# -- addresses -----------------------------------------------------------------------------------------------


def check_listening(
    addresses: Sequence[Listen], status: Status | None, machine: Machine
) -> Iterator[Finding]:
    """Is each address our daemon's, or free?"""
    ours = set(status.get("listen", [])) if status is not None else set()
    for address in addresses:
        if address.url in ours:
            yield ok("listening", f"the daemon listens on {address}")
        elif status is not None and not address.path and address.port == 0:
            yield ok("listening", "the daemon listens on a port that the system chose")
        elif address.path:
            yield _unix_finding(address, machine)
        else:
            yield _tcp_finding(address)


def _unix_finding(address: Listen, machine: Machine) -> Finding:
    path = Path(address.path)
    check = "listening"
    if not path.parent.is_dir():
        return problem(
            check,
            f"{address}: the folder {path.parent} is missing",
            f"mkdir {path.parent}, or RuntimeDirectory= in the unit",
        )
    if not machine.may_write(path.parent):
        return problem(check, f"{address}: {path.parent} cannot be written to", "give its user the right to")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ok(check, f"{address} is free")
    if not stat.S_ISSOCK(mode):
        return problem(check, f"{address}: a file is there that is no socket", f"move {path} away")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PATIENCE)
        try:
            probe.connect(str(path))
        except OSError:
            return ok(check, f"{address} is free: the socket there is left over")
    return problem(check, f"{address}: another program listens there", "stop it, or choose another path")


def _tcp_finding(address: Listen) -> Finding:
    check = "listening"
    try:
        found = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", "") or "it is no name").lower()
        return problem(
            check, f"{address}: the host name cannot be resolved: {reason}", "write an address instead"
        )
    for family, kind, protocol, _, where in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(where)
                probe.listen(1)
        except OSError as error:
            finding = cannot_bind(address, error)
            if finding is not None:
                return finding
    return ok(check, f"{address} is free")


def cannot_bind(address: Listen, error: OSError) -> Finding | None:
    check = "listening"
    if error.errno == errno.EADDRINUSE:
        owner = owner_of_port(address.port)
        if owner == "systemd (process 1)":
            return ok(check, f"systemd holds {address} and hands it over (cdpd.socket)")
        return problem(
            check,
            f"{address} is taken by {owner or 'another program'}",
            "stop that, or listen elsewhere; `ss -ltnp` shows who listens where",
        )
    if error.errno == errno.EACCES:
        todo = (
            "use cdpd.socket, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or a port from 1024 on"
        )
        return problem(check, f"{address}: this user may not listen on port {address.port}", todo)
    if error.errno == errno.EADDRNOTAVAIL:
        return problem(check, f"{address}: this machine has no such address", "`ip address` lists them")
    if error.errno == errno.EAFNOSUPPORT:
        return None  # one of a name's addresses: IPv6 is switched off here
    return problem(check, f"{address}: {(error.strerror or str(error)).lower()}", "choose another address")
