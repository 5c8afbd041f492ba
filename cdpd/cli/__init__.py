"""The command line: picks the command; only that command's module is imported (registry.py lists them)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `cdpd ARGUMENTS` (default: those of this process) and return the exit code (cdpd/cli/exits.py)."""
    from cdpd.cli.front import os_error_text, run_command

    try:
        code = run_command(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _write_no_more()
        return 0
    except OSError as error:
        _write_no_more()
        sys.stderr.write(f"cdpd: {os_error_text(error)}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _write_no_more() -> None:
    """What is still buffered goes nowhere, lest Python complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
