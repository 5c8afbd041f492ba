"""`cdpd pause`: destinations rest until they are resumed; their events wait in the log."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import Struct

from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json

app = new_app()


class _Pause(Struct):
    destinations: list[str]
    reason: str


def check_named(names: list[str] | None, everything: bool, all_of: str) -> list[str]:
    """Names, or --all; the empty list is all. Raises CommandError."""
    if bool(names) == everything:
        message = "either names or --all, not both" if names else f"name destinations, or --all for {all_of}"
        raise CommandError(message, USAGE)
    return names or []


@app.command(
    epilog=examples(
        "cdpd pause webhook --reason 'their maintenance, until Monday'",
        "cdpd pause --all",
        "cdpd resume webhook",
        more="Batches in flight end first. The pause outlasts restarts and reloads, until `cdpd resume`; meanwhile the "
        "log keeps what the destination has not got, whatever its `keep` says. Replays and retries may still be "
        "sent. Exits 3 where no daemon is running.",
    )
)
def pause(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="As in [destinations.NAME].", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every destination.")] = False,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why: `cdpd status` shows it.", show_default=False)
    ] = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Let destinations rest: nothing is sent to them, their events wait in the log."""
    chosen = check_named(names, everything, "every destination")
    with asking(config, data_dir) as daemon:
        answer = daemon.call("POST /destinations/pause", _Pause(chosen, reason))
    if json:
        print_json(answer)
        return
    for name, told in answer["destinations"].items():
        before = "was paused before" if name in answer["before"] else "is paused"
        waiting = plural(told["lag_events"], "event") + (" waits" if told["lag_events"] == 1 else " wait")
        print(f"{name} {before}, at offset {told['position']:,} of events; {waiting} there now")
    if not answer["destinations"]:
        print("there is no destination")
