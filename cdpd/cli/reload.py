"""`cdpd reload`: apply a changed configuration to the running daemon."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import columns, print_json
from cdpd.terminal import printable

app = new_app()
_KEPT: Final = "its place and its parked events are kept: cdpd destinations ls"


@app.command(
    epilog=examples(
        "cdpd check && cdpd reload",
        "cdpd reload --json | jq .needs_restart",
        more="Says which sources, destinations and hooks came, went, have another name or other options, and what "
        "counts only after a restart. A wrong configuration changes nothing: it is refused with its mistakes, exit "
        "code 2. Exits 3 where no daemon is running.",
    )
)
def reload(config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """Make the running daemon read its configuration again, without dropping a request."""
    with asking(config, data_dir) as daemon:
        answer = daemon.reload()
    if json:
        print_json(answer)
        return
    rows = list(_rows(answer))
    print("reloaded" if rows else "reloaded: nothing in the configuration is different")
    sys.stdout.write(columns([[printable(cell) for cell in row] for row in rows], indent="  "))
    for warning in answer["warnings"]:
        print(printable(f"warning: {warning}"))


def _rows(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(section, what is different), a section's name once; then what needs a restart."""
    details = answer["details"]
    for section in answer["changed"]:
        title = section
        lines = (
            _named(section, details["named"][section])
            if section in details["named"]
            else ["changed: " + ", ".join(details["keys"].get(section, ()))]
            if section in details["keys"]
            else ["changed"]
        )
        for line in lines:
            yield title, line
            title = ""
    if answer["needs_restart"]:
        yield "restart", f"{', '.join(answer['needs_restart'])}: the new value counts from the next start on"


def _named(section: str, told: Mapping[str, Any]) -> Iterator[str]:
    if told["added"]:
        yield f"added: {', '.join(told['added'])}"
    if told["removed"]:
        kept = f" ({_KEPT})" if section == "destinations" else ""
        yield f"removed: {', '.join(told['removed'])}{kept}"
    for name, was in told["renamed"].items():
        yield f"renamed: {name} (was {was})"
    for name, keys in told["changed"].items():
        yield f"changed: {name} ({', '.join(keys)})"
    if not any(told.values()):
        yield "changed: what is left says the same"
