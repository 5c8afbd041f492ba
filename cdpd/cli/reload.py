"""`cdpd reload`: apply a changed configuration to the running daemon."""

from __future__ import annotations

from cdpd.cli.facts import print_facts
from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import print_json

app = new_app()


@app.command(
    epilog=examples(
        "cdpd check && cdpd reload",
        more="A wrong configuration changes nothing: it is refused with its mistakes, exit code 2.",
    )
)
def reload(config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """Make the running daemon read its configuration again, without dropping a request."""
    with asking(config, data_dir) as daemon:
        answer = daemon.reload()
    if json:
        print_json(answer)
    else:
        print("reloaded")
        print_facts(answer)
