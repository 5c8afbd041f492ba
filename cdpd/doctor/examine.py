"""All checks, in the order in which one would mend things."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdpd import discovery
from cdpd.config.address import listens
from cdpd.config.files import SYSTEM_FILE
from cdpd.config.load import LoadedConfig
from cdpd.config.model import Config
from cdpd.config.peek import peek
from cdpd.config.problem import ConfigError
from cdpd.doctor.configuration import (
    check_certificate,
    check_plugins,
    check_shown_certificate,
    read_configuration,
)
from cdpd.doctor.finding import Finding
from cdpd.doctor.folder import check_filesystem, check_folder, check_syncs, nearest_folder
from cdpd.doctor.machine import Machine
from cdpd.doctor.service import ask_daemon, check_daemon, check_listening
from cdpd.doctor.space import check_space
from cdpd.doctor.system import check_clock, check_memory, check_open_files, check_versions


def examine(
    given: Path | None, data_dir: Path | None, machine: Machine, system_file: Path = SYSTEM_FILE
) -> Iterator[Finding]:
    """Every finding. `given` and `data_dir` are the command line's; neither a daemon nor a configuration is needed."""
    yield from check_versions(machine)
    yield from check_plugins(discovery.hooks, discovery.destinations, discovery.commands, machine)
    read = read_configuration(given, data_dir, system_file)
    yield from read.findings
    config = read.loaded.config if read.loaded is not None else Config()
    if read.loaded is not None:
        yield from check_certificate(read.loaded, machine)
    folder = _folder(given, data_dir, read.loaded, system_file)
    if folder is not None:
        yield from _on_disk(folder, config, machine)
    yield from check_clock(machine)
    yield from check_open_files(machine)
    yield from check_memory(machine, config.http.max_in_flight_bytes)
    if folder is not None:
        asked, status = ask_daemon(folder)
        yield from asked
        if status is not None:
            yield from check_daemon(status, machine)
            if read.loaded is not None:
                yield from check_shown_certificate(read.loaded, status)
        if read.loaded is not None or read.missing:
            addresses = listens(config.http.listen)
            if status is None and config.metrics.listen is not None:  # a daemon that runs has it
                addresses += listens(config.metrics.listen)
            yield from check_listening(addresses, status, machine)


def _folder(
    given: Path | None, data_dir: Path | None, loaded: LoadedConfig | None, system_file: Path
) -> Path | None:
    """The data folder; of a wrong configuration what could be read of it."""
    if loaded is not None:
        return loaded.data_dir
    try:
        return peek(given, data_dir, system_file=system_file).data_dir
    except ConfigError:
        return data_dir  # not even TOML: what is wrong with it is told already


def _on_disk(folder: Path, config: Config, machine: Machine) -> Iterator[Finding]:
    findings = list(check_folder(folder, machine))
    yield from findings
    yield from check_filesystem(folder, machine)
    if nearest_folder(folder).is_dir():
        if not any(finding.state == "problem" for finding in findings):
            yield from check_syncs(folder, machine)
        yield from check_space(folder, config.log, machine)
