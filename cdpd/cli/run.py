"""`cdpd run`: the daemon, in the foreground."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.options import ConfigOption, DataDirOption, examples, new_app
from cdpd.config.address import parse_listen

app = new_app()


@app.command(
    epilog=examples(
        "cdpd run",
        "cdpd run --listen 127.0.0.1:9090",
        "cdpd run --config /etc/cdpd/cdpd.toml --data-dir /var/lib/cdpd",
        more="SIGTERM and Ctrl-C stop it once what was accepted is on disk; SIGHUP, like `cdpd reload`, applies "
        "a changed configuration.",
    )
)
def run(
    listen: Annotated[
        list[str],
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Listen there, or at unix:/PATH, whatever the configuration says. Repeatable.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 - typer copies it
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Start the daemon, in the foreground.

    Where no configuration is found it starts with defaults to try things with: one source, whose write key is
    made once and kept in the data folder, and events printed to the console.
    """
    for place in listen:
        try:
            parse_listen(place)
        except ValueError as error:
            raise CommandError(f"--listen: {error}", USAGE) from None
    # Nothing is loaded yet that a reload could change; the daemon minds its signals from its first moment on.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from cdpd.foreground import RunOptions
    from cdpd.start import run as run_daemon

    raise typer.Exit(run_daemon(RunOptions(config=config, data_dir=data_dir, listen=listen)))
