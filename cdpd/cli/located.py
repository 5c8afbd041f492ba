"""From `--config` and `--data-dir` to the data folder and the daemon on it, and how failing is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cdpd.cli.exits import FAILED, NOT_RUNNING, USAGE, CommandError
from cdpd.config.address import nearest
from cdpd.config.data_folder import SOCKET
from cdpd.config.peek import Peek, peek
from cdpd.config.problem import ConfigError, Problem
from cdpd.control.client import ControlClient, ControlRefused, NoAnswer, NotRunning
from cdpd.data_lock import holder


def peek_or_stop(config: Path | None, data_dir: Path | None) -> Peek:
    """Where the daemon and its data are; raises CommandError where the configuration cannot be read."""
    try:
        return peek(config, data_dir)
    except ConfigError as error:
        raise config_error(error.problems) from None


def daemon_url(found: Peek) -> str:
    """Where the running daemon says it listens, else where the configuration says: http, unix:/path or https."""
    try:
        said = ControlClient(found.data_dir / SOCKET, timeout=5).status().get("listen")
    except (NotRunning, ControlRefused):
        said = None
    told = [url for url in said if isinstance(url, str)] if isinstance(said, list) else []
    url = nearest(told or [listen.url for listen in found.listen]) or ""
    if url.startswith("https:") and found.public_url is not None:
        return found.public_url  # the name that is in the certificate
    return url


@contextmanager
def asking(config: Path | None, data_dir: Path | None) -> Iterator[ControlClient]:
    """A client of the daemon on that data folder; that it is not there, or refuses, becomes a CommandError."""
    found = peek_or_stop(config, data_dir)
    try:
        yield ControlClient(found.data_dir / SOCKET)
    except NoAnswer as error:
        raise CommandError(str(error), NOT_RUNNING) from None
    except NotRunning as error:
        pid = holder(found.data_dir)
        if pid is not None:
            who = f"a daemon (pid {pid})" if pid else "a daemon"
            text = f"{who} is starting or stopping on {found.data_dir}, and does not answer at the moment: try again"
            raise CommandError(text, NOT_RUNNING) from None
        way_out = "start one with `cdpd run`, or name its folder with --data-dir"
        raise CommandError(f"{error}; {way_out}", NOT_RUNNING) from None
    except ControlRefused as error:
        if error.problems:
            raise CommandError(f"{error}:\n{problem_lines(error.problems)}", USAGE) from None
        # `busy`: a process of the daemon is just being started again, the log cannot be written …
        raise CommandError(str(error), NOT_RUNNING if error.code == "busy" else FAILED) from None


def config_error(problems: Sequence[Problem]) -> CommandError:
    """How a command says that the configuration is wrong."""
    return CommandError(f"the configuration is wrong:\n{problem_lines(problems)}", USAGE)


def problem_lines(problems: Sequence[Problem]) -> str:
    """One line a problem."""
    return "\n".join(f"  {problem}" for problem in problems)
