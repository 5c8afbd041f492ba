"""`cdpd status`: what runs, and how far each part is."""

from __future__ import annotations

from cdpd.cli.facts import print_facts
from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import print_json

app = new_app()


@app.command(
    epilog=examples(
        "cdpd status", "cdpd status --json | jq .streams", more="Exits 3 where no daemon is running."
    )
)
def status(config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """Show whether a daemon is running on the data folder, and how far each of its parts is."""
    with asking(config, data_dir) as daemon:
        answer = daemon.status()
    if json:
        print_json(answer)
    else:
        print_facts(answer)
