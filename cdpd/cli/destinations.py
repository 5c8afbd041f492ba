"""`cdpd destinations`: what one may do to a destination of a running daemon."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from msgspec import Struct

from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.cli.streams import PLACE_FORMS, told_place

app = new_app("Destinations of a running daemon; `cdpd status` shows how each is.", no_args_is_help=True)


@app.callback()
def destinations() -> None:
    """Keep `reset` a subcommand, also while it is the only one."""


class _Reset(Struct):
    destination: str
    start: str
    dry_run: bool


@app.command(
    epilog=examples(
        "cdpd destinations reset webhook --from now",
        "cdpd destinations reset webhook --from 2026-01-31T12:00:00Z --dry-run",
        "cdpd destinations reset webhook --from beginning",
        more="For a destination whose position is of another log (after a restore), or that is to get events again, or "
        "to leave some out. Parked events stay parked. Exits 3 where no daemon is running.",
    )
)
def reset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in [destinations.NAME].")],
    start: Annotated[str, typer.Option("--from", metavar="PLACE", help=f"Where it goes on: {PLACE_FORMS}.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent or left out.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Let a destination go on from another place in events."""
    place = told_place(start, time.time_ns() // 1_000_000)
    with asking(config, data_dir) as daemon:
        answer = daemon.call("POST /destinations/reset", _Reset(name, place, dry_run))
    if json:
        print_json(answer)
        return
    before, position, end = answer["before"], answer["position"], answer["end"]
    would = "would go on" if dry_run else "goes on"
    print(f"{name} {would} at offset {position} of events; it was at {before}. {_effect(before, position)}")
    print(
        f"{plural(max(end - position, 0), 'event')} from there on {'are' if end - position != 1 else 'is'} stored"
    )


def _effect(before: int, position: int) -> str:
    if position > before:
        return f"It does not get the {plural(position - before, 'event')} in between."
    if position < before:
        return f"It gets the {plural(before - position, 'event')} in between again."
    return "It neither misses nor gets again anything."
