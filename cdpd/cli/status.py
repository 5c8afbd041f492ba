"""`cdpd status`: what runs, and how far each part is."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from cdpd.cli.facts import print_facts
from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import print_json
from cdpd.cli.status_report import StatusReport
from cdpd.terminal import coloured

app = new_app()


@app.command(
    epilog=examples(
        "cdpd status",
        "cdpd status --counters",
        "cdpd status --json | jq .destinations",
        more="DELIVERED and the times of hooks are since the daemon's start. Exits 3 where no daemon is running.",
    )
)
def status(
    counters: Annotated[
        bool, typer.Option("--counters", help="Show every counter too; /metrics has them for Prometheus.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Show whether a daemon is running on the data folder, how far each of its parts is, and what its problems are."""
    with asking(config, data_dir) as daemon:
        answer = daemon.status()
    if json:
        print_json(answer)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    report = StatusReport(answer, width=width, colours=coloured(sys.stdout))
    sys.stdout.write(report.text())
    for name, value in report.more.items():
        print_facts({name: value})
    if counters:
        print_facts({"counters": answer.get("counters", {})})
