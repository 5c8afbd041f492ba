"""`cdpd init`: a configuration to start from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cdpd.called import program
from cdpd.cli.exits import CommandError
from cdpd.cli.options import examples, new_app
from cdpd.config.data_folder import new_write_key
from cdpd.config.starter import starter

app = new_app()


@app.command(epilog=examples("cdpd init", "cdpd init /etc/cdpd/cdpd.toml", "cdpd init --print"))
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("cdpd.toml"),
    show: Annotated[bool, typer.Option("--print", help="Print it, and write nothing.")] = False,
) -> None:
    """Write a commented configuration with a fresh write key. An existing file is never overwritten."""
    write_key = new_write_key("website")
    text = starter(write_key)
    if show:
        sys.stdout.write(text)
        return
    try:
        # Not for everybody's eyes: passwords of destinations will stand in it.
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w") as opened:
            opened.write(text)
    except FileExistsError:
        raise CommandError(f"{file} exists already; move it away, or name another file") from None
    except OSError as error:
        raise CommandError(f"cannot write {file}: {(error.strerror or str(error)).lower()}") from None
    option = "" if file == Path("cdpd.toml") else f" --config {file}"
    print(f"wrote {file}, with the write key {write_key}")
    cdpd = program()
    print(f"next: {cdpd} check{option}\n      {cdpd} run{option}")
