"""Loading the configuration: files → one checked Config, or every problem at once."""

from __future__ import annotations

import hashlib
import importlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.config.alert_rules import broken_alert_rules
from cdpd.config.analytics_js import LibraryFiles, configured_library
from cdpd.config.certificate import CertificateFiles, certificate_risk, configured_certificate
from cdpd.config.data_folder import data_folder, development_key
from cdpd.config.decode import decode
from cdpd.config.files import SYSTEM_FILE, Document, find_file, read_document
from cdpd.config.functions import broken_functions, expand_inserts, place_functions
from cdpd.config.model import Config, PipelineConfig, SourceConfig
from cdpd.config.plugin_options import Catalogue, place_own_paths, place_paths, plugin_faults
from cdpd.config.problem import ConfigError, Problem
from cdpd.config.public_keys import unreadable_keys
from cdpd.config.risks import risks
from cdpd.config.rules import broken_rules, table
from cdpd.config.shape import Fault, check_shape
from cdpd.config.source_rules import broken_oauth_rules, broken_source_rules

_SHAPING_HTTP: Final = ("max_event_bytes", "max_depth")


class LoadedConfig(Struct, frozen=True):
    """A configuration that was checked whole."""

    config: Config
    config_id: int
    """64 bits; the same for every configuration that makes the same of an event."""
    data_dir: Path
    files: list[Path] = []
    """In the order in which they were merged; empty for the development daemon."""
    warnings: list[Problem] = []
    development: bool = False
    """No file was found: the embedded defaults."""
    library: LibraryFiles | None = None
    """What `[http] analytics_js` names, as it was when the configuration was read."""
    certificate: CertificateFiles | None = None
    """What `[http.tls]` names, likewise."""


def load(
    given: Path | None = None,
    data_dir: Path | None = None,
    *,
    development: bool = False,
    catalogue: Catalogue | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    system_file: Path = SYSTEM_FILE,
) -> LoadedConfig:
    """Find, read and check the configuration.

    `given` and `data_dir` are the command line's. With `development`, and where no file is found, it is the
    development daemon's: source `dev`, console destination; this makes the data folder and its write key.
    Raises ConfigError with every problem.
    """
    environ = os.environ if environ is None else environ
    folder = folder or Path()
    path = find_file(given, folder, system_file)
    if path is None:
        if not development:
            raise ConfigError([_nothing_found(folder, system_file)])
        return _development(data_folder(data_dir, None, None, environ))
    document = read_document(path)
    catalogue = catalogue or _installed()
    problems = document.problems + _problems(document, catalogue, path.parent)
    library = configured_library(document.data, path.parent)
    if isinstance(library, Fault):
        problems.append(_placed(document, library))
    certificate = configured_certificate(document.data, path.parent, environ)
    if isinstance(certificate, Fault):
        problems.append(_placed(document, certificate))
    if problems:
        raise ConfigError(_in_order(problems, document))
    place_paths(document.data, catalogue, path.parent)
    place_own_paths(document.data, path.parent)
    place_functions(document.data, path.parent)
    expand_inserts(document.data, table(document.data, "pipeline").get("hooks", PipelineConfig().hooks))
    config = msgspec.convert(document.data, Config, dec_hook=decode)
    warnings = list(risks(config, document))
    if isinstance(certificate, CertificateFiles):
        expiry = certificate_risk(certificate, time.time())
        warnings += [expiry] if expiry is not None else []
    return LoadedConfig(
        config=config,
        config_id=config_id(config),
        data_dir=data_folder(data_dir, config.data.dir, path.parent, environ),
        files=[file.path for file in document.files],
        warnings=_in_order([_placed(document, fault) for fault in warnings], document),
        library=library if isinstance(library, LibraryFiles) else None,
        certificate=certificate if isinstance(certificate, CertificateFiles) else None,
    )


def config_id(config: Config) -> int:
    """A stable hash of what decides what becomes of an event; 64 bits, unsigned, never 0."""
    matters: dict[str, Any] = {
        "http": {key: getattr(config.http, key) for key in _SHAPING_HTTP},
        "pipeline": config.pipeline.hooks,
        "hooks": config.hooks,
        "sources": {
            name: [source.type, source.hooks, source.enabled, source.labels]
            for name, source in config.sources.items()
        },
    }
    text = msgspec.json.encode(matters, order="deterministic")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") or 1


def _development(folder: Path) -> LoadedConfig:
    try:
        key = development_key(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"cannot keep a write key in the data folder {folder}: {reason}"
        raise ConfigError([Problem(message, suggestion="name another with --data-dir")]) from None
    config = Config(
        sources={"dev": SourceConfig(write_keys=[key])},
        destinations={"console": {"type": "console"}},
    )
    return LoadedConfig(config, config_id(config), folder, development=True)


def _nothing_found(folder: Path, system_file: Path) -> Problem:
    looked = f"{folder / 'cdpd.toml'} and {system_file}"
    hint = "`cdpd init` writes one to start from, --config FILE names one elsewhere"
    return Problem(f"no configuration found (looked for {looked})", suggestion=hint)


def _problems(document: Document, catalogue: Catalogue, folder: Path) -> list[Problem]:
    if not document.files:  # not one could be read: nothing to say about their keys
        return []
    faults: list[Fault] = check_shape(document.data, Config, decode)
    faults += broken_rules(document.data)
    faults += broken_source_rules(document.data)
    faults += broken_oauth_rules(document.data)
    faults += broken_alert_rules(document.data)
    faults += unreadable_keys(document.data, folder)
    faults += broken_functions(document.data, folder)
    faults += plugin_faults(document.data, catalogue, decode)
    return [_placed(document, fault) for fault in faults]


def _placed(document: Document, fault: Fault) -> Problem:
    return document.problem(fault.path, fault.message, fault.suggestion, at_key=fault.at_key)


def _in_order(problems: Iterable[Problem], document: Document) -> list[Problem]:
    """As one reads the files: by file, line and column."""
    order = {str(file.path): i for i, file in enumerate(document.files)}
    return sorted(problems, key=lambda p: (order.get(p.file, -1), p.line, p.column))


def _installed() -> Catalogue:
    # Reads every installed package's metadata: only when wanted.
    return importlib.import_module("cdpd.discovery")
