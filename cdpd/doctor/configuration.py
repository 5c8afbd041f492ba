"""The configuration, as `cdpd check` sees it; the certificate; and the installed plugins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.cli.output import plural
from cdpd.config.files import SYSTEM_FILE, find_file
from cdpd.config.load import LoadedConfig, load
from cdpd.config.problem import ConfigError, Problem
from cdpd.discovery import Found
from cdpd.doctor.finding import Finding, ok, problem, warning
from cdpd.doctor.machine import Machine
from cdpd.timestamp import parse_time

_CREDENTIALS: Final = Path("/run/credentials/cdpd.service")
"""Where systemd puts what LoadCredential= of our unit brings."""
_SOON: Final = 14 * 86400
_VERY_SOON: Final = 3 * 86400


class Read(Struct, frozen=True):
    """What became of reading it."""

    findings: list[Finding]
    loaded: LoadedConfig | None = None
    """None where there is none, or it is wrong."""
    missing: bool = False


def read_configuration(given: Path | None, data_dir: Path | None, system_file: Path = SYSTEM_FILE) -> Read:
    path = find_file(given, Path(), system_file)
    if path is None:
        text = "none found: `cdpd run` starts with defaults to try things with"
        return Read([ok("configuration", text)], missing=True)
    try:
        loaded = load(given, data_dir, environ=with_credentials(os.environ), system_file=system_file)
    except ConfigError as error:
        return Read(
            [
                problem(
                    "configuration", _told(each), each.suggestion or "mend it; `cdpd check` tells the same"
                )
                for each in error.problems
            ]
        )
    findings = [
        warning("configuration", _told(each), each.suggestion or "is that meant?")
        for each in loaded.warnings
        if each.key != "http.tls.certificate"  # told as a finding of its own
    ]
    if not findings:
        sources = plural(len(loaded.config.sources), "source")
        destinations = plural(len(loaded.config.destinations), "destination")
        findings.append(ok("configuration", f"{path}: {sources}, {destinations}"))
    return Read(findings, loaded)


def _told(each: Problem) -> str:
    """Its place and message; what to do stands apart."""
    return str(msgspec.structs.replace(each, suggestion=""))


def with_credentials(environ: Mapping[str, str], folder: Path = _CREDENTIALS) -> Mapping[str, str]:
    """The environment, with the credentials of the running service where this process has none of its own."""
    if "CREDENTIALS_DIRECTORY" in environ or not os.access(folder, os.R_OK | os.X_OK):
        return environ
    return {**environ, "CREDENTIALS_DIRECTORY": str(folder)}


def check_certificate(loaded: LoadedConfig, machine: Machine) -> Iterator[Finding]:
    """How long the certificate of [http.tls] is good."""
    certificate = loaded.certificate
    if certificate is None:
        return
    now = machine.now_ms() / 1000
    left = certificate.ends - now
    days = int(abs(left) // 86400)
    renew = "renew it, then `cdpd reload`"
    if left <= 0:
        text = f"{certificate.name} expired {plural(days, 'day')} ago: clients refuse it"
        yield problem("certificate", text, renew, days=-days)
    elif now < certificate.begins:
        text = f"{certificate.name} is not valid yet: clients refuse it"
        yield problem("certificate", text, "is the clock right? else wait, or use the one before")
    elif left <= _SOON:
        kind = problem if left <= _VERY_SOON else warning
        text = f"{certificate.name} expires in {plural(days, 'day')}"
        yield kind("certificate", text, renew, days=days)
    else:
        yield ok("certificate", f"{certificate.name} is good for {plural(days, 'day')}", days=days)


def check_shown_certificate(loaded: LoadedConfig, status: Mapping[str, Any]) -> Iterator[Finding]:
    """Does the running daemon show the certificate that is in the file?"""
    certificate, shown = loaded.certificate, status.get("certificate")
    if certificate is None or not isinstance(shown, dict):
        return
    expires = parse_time(str(shown.get("expires")))
    if expires is not None and expires // 1000 != certificate.ends:
        yield warning(
            "certificate",
            f"the daemon shows one that expires {shown['expires']}; {certificate.name} is another by now",
            "`cdpd reload` (let what renews it do that)",
        )


def check_plugins(
    hooks: Callable[[], Mapping[str, Found]],
    destinations: Callable[[], Mapping[str, Found]],
    commands: Callable[[], Mapping[str, Found]],
    machine: Machine,
) -> Iterator[Finding]:
    """Can every installed plugin be loaded? Is the package of a stranger in the way?"""
    names: dict[str, str] = {}
    broken = 0
    for kind, group in (("hook", hooks()), ("destination", destinations()), ("command", commands())):
        for name, found in sorted(group.items()):
            names[found.distribution] = found.version
            try:
                found.load()
            except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything; that is told
                broken += 1
                reason = f"{type(error).__name__}: {error}"
                yield problem(
                    "plugins",
                    f"the {kind} {name!r} of {found.distribution} {found.version} cannot be loaded: {reason}",
                    f"upgrade or uninstall {found.distribution}",
                )
    stranger = machine.version("cdpd")
    if stranger is not None:
        yield problem(
            "plugins",
            f"the package cdpd {stranger} is installed, which is somebody else's and may hide ours",
            "pip uninstall cdpd, then pip install --force-reinstall --no-deps cdpd-daemon",
        )
    if not broken:
        others = [f"{name} {version}" for name, version in sorted(names.items()) if name != "cdpd-daemon"]
        text = f"all can be loaded; besides those of cdpd-daemon: {', '.join(others) or 'none'}"
        yield ok("plugins", text)
