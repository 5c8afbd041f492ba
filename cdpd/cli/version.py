"""`cdpd version`."""

from __future__ import annotations

import platform
from importlib.metadata import version as version_of

from cdpd.cli.options import JsonOption, examples, new_app
from cdpd.cli.output import print_json

DISTRIBUTION = "cdpd-daemon"
app = new_app()


@app.command(epilog=examples("cdpd version", "cdpd version --json"))
def version(json: JsonOption = False) -> None:
    """Show the versions of cdpd and of the Python that runs it."""
    found = {
        "cdpd": version_of(DISTRIBUTION),
        "python": platform.python_version(),
        "platform": f"{platform.system().lower()}-{platform.machine()}",
    }
    if json:
        print_json(found)
    else:
        print(f"cdpd {found['cdpd']} (Python {found['python']}, {found['platform']})")
