"""`cdpd` itself: its help, finding a command, and turning foreseeable errors into a line and an exit code."""

from __future__ import annotations

import errno
import importlib
import sys
from typing import Any, Final

from cdpd.cli.exits import FAILED, MEANINGS, OK, USAGE, CommandError
from cdpd.cli.registry import BUILT_IN, GROUPS
from cdpd.log.errors import LogError

_INTRO: Final = """\
cdpd receives the events of your websites, apps and servers (who did what, when), keeps every one
of them on disk, cleans them up, and passes them on to the destinations that you configure. Any
Segment SDK can send to it.

Usage: cdpd COMMAND [OPTIONS] [ARGUMENTS]
       cdpd COMMAND --help
"""
_EXAMPLES: Final = """\
Examples:
  cdpd run                                     try it: prints a curl line that sends a first event
  cdpd send --type track --event 'Signed Up' --user u1 --property plan=pro
  cdpd tail --event 'Signed Up'
  cdpd query 'select event, count(*) from events group by 1'
"""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def run_command(arguments: list[str]) -> int:
    """Run one command line. BrokenPipeError, KeyboardInterrupt and what is a fault of ours come through."""
    try:
        return _dispatch(arguments)
    except CommandError as error:
        _complain(str(error))
        return error.code
    except LogError as error:
        _complain(str(error))
        return FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        _complain(os_error_text(error))
        return FAILED
    except SystemExit as exit_:  # how typer ends
        if isinstance(exit_.__context__, BrokenPipeError):
            raise exit_.__context__ from None
        if isinstance(exit_.code, int):
            return exit_.code
        return OK if exit_.code is None else FAILED


def os_error_text(error: OSError) -> str:
    """What the system refused: of which file, and why."""
    reason = (error.strerror or str(error)).lower()
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    # The only file without a name that fills a disk is the output.
    return f"cannot write the output: {reason}" if error.errno in _FULL else reason


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        if len(arguments) > 1 and arguments[0] == "help":
            return _dispatch([arguments[1], "--help"])
        sys.stdout.write(_help())
        return OK
    name, rest = arguments[0], arguments[1:]
    if name in ("--version", "-V"):
        name = "version"
    if name.startswith("-"):
        raise CommandError(f"{name} goes after the command: cdpd COMMAND {name} … (see cdpd --help)", USAGE)
    app = _app(name)
    app(args=rest, prog_name=f"cdpd {name}")
    return OK


def _app(name: str) -> Any:
    entry = BUILT_IN.get(name)
    if entry is not None:
        return importlib.import_module(f"cdpd.cli.{entry.module}").app
    from cdpd.cli.plugin_command import plugin_app, plugin_commands

    found = plugin_commands()
    if name in found:
        return plugin_app(name, found[name])
    from cdpd.config.problem import did_you_mean

    hint = did_you_mean(name, [*BUILT_IN, *found]) or "cdpd --help lists them"
    raise CommandError(f"there is no command {name!r}; {hint}", USAGE)


def _help() -> str:
    from cdpd.cli.plugin_command import plugin_commands

    parts = [_INTRO]
    for title, commands in GROUPS.items():
        lines = [f"  {name:<14}{entry.summary}" for name, entry in commands.items()]
        parts.append(f"{title}:\n" + "\n".join(lines) + "\n")
    found = plugin_commands()
    if found:
        lines = [f"  {name:<14}from {command.distribution}" for name, command in sorted(found.items())]
        parts.append("From plugins:\n" + "\n".join(lines) + "\n")
    parts.append(_EXAMPLES)
    codes = "\n".join(f"  {code:<5}{meaning}" for code, meaning in MEANINGS.items())
    parts.append(f"Exit codes:\n{codes}\n")
    return "\n".join(parts)


def _complain(message: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"cdpd: {message}\n")
