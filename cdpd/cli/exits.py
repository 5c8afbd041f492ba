"""Exit codes, and the error that ends a command with one of them."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3

MEANINGS: Final = {
    OK: "it worked",
    FAILED: "it failed, or found something wrong",
    USAGE: "the command line or the configuration is wrong",
    NOT_RUNNING: "no daemon is running, or it cannot answer at the moment",
    130: "stopped by Ctrl-C",
}


class CommandError(Exception):
    """Ends the command: the message goes to stderr, after `cdpd: `."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
