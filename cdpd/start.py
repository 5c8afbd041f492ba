"""`cdpd run`: from the command line to a daemon that runs, and how a start that fails is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cdpd.clock import SystemClock
from cdpd.config.address import listens
from cdpd.config.data_folder import SOCKET, data_folder, make_data_folder
from cdpd.config.files import find_file
from cdpd.config.load import LoadedConfig, load
from cdpd.config.model import Config
from cdpd.config.problem import ConfigError
from cdpd.control.client import ControlClient, ControlRefused, NoAnswer, NotRunning
from cdpd.daemon import Daemon
from cdpd.data_lock import locked
from cdpd.failures import foreseen
from cdpd.foreground import RunOptions
from cdpd.ingest.handed import take_handed
from cdpd.ingest.server import ListenError
from cdpd.ingest.sockets import check_free
from cdpd.logs import Threshold, make_log
from cdpd.loop import run_loop
from cdpd.notify import Notifier
from cdpd.repeats import Repeats
from cdpd.roles.supervisor import Supervisor
from cdpd.scrape.listener import check_metrics_free


def run(options: RunOptions) -> int:
    """Run the daemon until a signal stops it; the exit code (cdpd/cli/exits.py)."""
    try:
        handed = take_handed(os.environ)
        loaded = _load(options, bool(handed))
    except ListenError as error:
        return _complain(str(error), 1)
    except ConfigError as error:
        # Where it is no person who reads this, it is kept: then without values.
        told = map(str, error.problems) if sys.stderr.isatty() else (one.for_log for one in error.problems)
        lines = "\n".join(f"  {problem}" for problem in told)
        return _complain(f"the configuration is wrong:\n{lines}", 2)
    threshold = Threshold(loaded.config.logging.level)
    clock = SystemClock()
    repeats = Repeats(clock.monotonic)
    log = make_log(loaded.config.logging, sys.stderr, threshold, repeats)
    notifier = Notifier.of(os.environ)
    daemon: Daemon | Supervisor
    try:
        make_data_folder(loaded.data_dir)
        with locked(loaded.data_dir) as lock:
            if len(loaded.config.process.roles) > 1:
                daemon = Supervisor(loaded, options, clock, log, threshold, notifier, handed, lock)
            else:
                daemon = Daemon(loaded, options, clock, log, threshold, notifier, handed)
            run_loop(daemon.run, repeats, clock, log)
    except Exception as error:
        message = foreseen(error, loaded.data_dir)
        if message is None:
            raise
        return _complain(message, 1)
    return 0 if daemon.asked_to_stop else _complain("ended, though nobody asked it to; its log says why", 1)


def _load(options: RunOptions, handed: bool) -> LoadedConfig:
    """The configuration, once it is known that it can be listened where it says.

    A daemon that could not serve must not leave a data folder, or destinations that begin where it failed. Raises
    ConfigError, ListenError.
    """

    def check(config: Config, data_dir: Path) -> None:
        if _is_served(data_dir):
            return  # the lock of the daemon that runs there is what is to be told
        if not handed:
            check_free(listens(options.listen or config.http.listen))
        check_metrics_free(config.metrics.listen)

    development = find_file(options.config, Path()) is None
    if development:  # loading makes the data folder then
        check(Config(), data_folder(options.data_dir, None, None, os.environ))
    loaded = load(options.config, options.data_dir, development=True)
    if not development:
        check(loaded.config, loaded.data_dir)
    return loaded


def _is_served(data_dir: Path) -> bool:
    try:
        ControlClient(data_dir / SOCKET, timeout=1.0).status()
    except NoAnswer:
        return True
    except (NotRunning, OSError):
        return False
    except ControlRefused:
        pass
    return True


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"cdpd: {message}\n")
    return code
