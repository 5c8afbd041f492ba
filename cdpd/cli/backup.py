"""`cdpd backup`: a copy of the data folder, while the daemon runs or not."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cdpd.cli.exits import FAILED, CommandError
from cdpd.cli.located import peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json, size_text
from cdpd.timestamp import format_time

app = new_app()
_EVERY = 0.2
"""Seconds between two looks at the progress."""


@app.command(
    epilog=examples(
        "cdpd backup /backup/cdpd",
        "cdpd backup /backup/cdpd --check-all --json",
        more=(
            "To restore, stop the daemon and copy the backup back as its data folder: "
            "cp -a /backup/cdpd/. DATA-FOLDER (which is empty). "
            "Exits 1 where the copy could not be made, or something is damaged."
        ),
    )
)
def backup(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where to: a new folder, or an earlier backup.", show_default=False
        ),
    ],
    check_all: Annotated[
        bool, typer.Option("--check-all", help="Read and check everything in the copy, not only what is new.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Copy the data folder: events, what was received and discarded, cursors, tokens, what plugins keep.

    The daemon may run. Into an earlier backup only what is new is copied. The copy is of one moment, and checked. It
    holds everything: personal data, and hashed tokens; only you may read it. The configuration is not in it.
    """
    from cdpd.backup.backup import FORESEEN
    from cdpd.backup.backup import backup as back_up

    data = peek_or_stop(config, data_dir).data_dir
    progress = _Progress()
    began = time.monotonic()
    try:
        report = back_up(
            data, target, now=format_time(time.time_ns() // 1_000_000), tell=progress.tell, whole=check_all
        )
    except FORESEEN as error:
        progress.end()
        raise CommandError(f"the backup was not made: {error}") from None
    progress.end()
    if json:
        print_json(
            {
                "copied_bytes": report.copied_bytes,
                "streams": {n: {"begin": c.begin, "end": c.end} for n, c in report.streams.items()},
                "left_out": report.left_out,
                "damaged": [str(finding) for finding in report.findings],
            }
        )
    else:
        lines = ", ".join(
            f"{plural(copied.end - copied.begin, 'line')} of {name}"
            for name, copied in report.streams.items()
        )
        seconds = time.monotonic() - began
        print(f"{target} holds {lines}; {size_text(report.copied_bytes)} were new, in {seconds:.1f} s")
        if report.left_out:
            print(f"left out, as they are made again: {', '.join(report.left_out)}")
        for finding in report.findings:
            print(f"damaged: {finding}")
        if report.findings:
            sys.stderr.write(
                "cdpd: the copy is damaged, as a rule because the original is: see `cdpd log verify`\n"
            )
    if report.findings:
        raise typer.Exit(FAILED)


class _Progress:
    """One line on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def tell(self, what: str, size: int) -> None:
        now = time.monotonic()
        if self._shown and now - self._last >= _EVERY:
            self._last = now
            sys.stderr.write(f"\r\033[K{what}: {size_text(size)} copied")
            sys.stderr.flush()

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
