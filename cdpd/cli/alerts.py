"""`cdpd alerts`: how the alerts of the configuration stand, and whether their messages arrive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from msgspec import Struct

from cdpd.cli.exits import FAILED
from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import columns, plural, print_json
from cdpd.terminal import printable

app = new_app("Alerts: what [alerts.NAME] watches in a running daemon.", no_args_is_help=True)
_NONE: Final = """\
no alerts are configured. For example:

[alerts.failing]
when = "failing"                 # a destination does not deliver
for = "10m"
webhook = "https://hooks.example.com/…"
"""


class _Test(Struct):
    alert: str


@app.command("ls", epilog=examples("cdpd alerts ls", "cdpd alerts ls --json"))
def ls(config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """List the alerts: whether they fire, since when, and what they see now."""
    with asking(config, data_dir) as daemon:
        answer = daemon.call("GET /alerts")
    if json:
        print_json(answer)
        return
    if not answer["alerts"]:
        print(_NONE, end="")
        return
    rows = [
        (
            one["alert"],
            one["about"] or "-",
            one["state"],
            _when(one.get("since")),
            one["when"],
            printable(one.get("now") or ""),
        )
        for one in answer["alerts"]
    ]
    print(columns(rows, ("ALERT", "ABOUT", "STATE", "SINCE", "WHEN", "NOW")), end="")
    for unsent in answer["unsent"]:
        print(f"\n{_unsent(unsent)}")
    if answer["problem"]:
        print(f"\n{printable(answer['problem'])}")


@app.command(
    "test",
    epilog=examples(
        "cdpd alerts test failing",
        more="Sends an event `Alert Test` to every destination and webhook of the alert, once, and shows what they "
        "answer. Exits 1 where one of them did not take it.",
    ),
)
def send_test(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in [alerts.NAME].")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Send a test message through the channels of an alert, and show what they answer."""
    with asking(config, data_dir) as daemon:
        answer = daemon.call("POST /alerts/test", _Test(name))
    if json:
        print_json(answer)
    elif not answer["sent"]:
        print(
            f'{name} is told to nobody: add to = ["DESTINATION"] or webhook = "https://…" to [alerts.{name}]'
        )
    else:
        for one in answer["sent"]:
            print(_sent(one))
    if not all(one["result"] == "delivered" for one in answer["sent"]):
        raise typer.Exit(FAILED)


def _when(since: str | None) -> str:
    """To the second: the milliseconds of a round say nothing."""
    return "-" if since is None else since.partition(".")[0].rstrip("Z") + "Z"


def _unsent(one: Mapping[str, Any]) -> str:
    problem = f": {printable(one['problem'])}" if one["problem"] else ""
    return f"not delivered yet: {plural(one['messages'], 'message')}, {one['channel']}{problem}"


def _sent(one: Mapping[str, Any]) -> str:
    word = {"delivered": "delivered", "again": "not now", "refused": "refused"}[one["result"]]
    status = f" ({one['status']})" if one["status"] is not None and not one["reason"] else ""
    reason = f": {one['reason']}" if one["reason"] else ""
    line = printable(f"{one['channel']}: {word}{status} in {one['seconds']:.2f} s{reason}")
    answer = " ".join(one["answer"].split())
    return line + (f"\n  it answered: {printable(answer)}" if answer and answer not in reason else "")
