"""`cdpd destinations`: what one may do to a destination of a running daemon."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer
from msgspec import Struct

from cdpd.cli.answer import print_table
from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.cli.streams import PLACE_FORMS, told_place

app = new_app("Destinations of a running daemon, those too that it has had before.", no_args_is_help=True)
_COLUMNS: Final = ("destination", "type", "state", "behind", "parked", "since", "problem")


class _Forget(Struct):
    destination: str
    parked: bool
    dry_run: bool


class _Reset(Struct):
    destination: str
    start: str
    dry_run: bool


@app.command(
    short_help="List destinations: how each is, and how far behind.",
    epilog=examples(
        "cdpd destinations ls",
        "cdpd destinations ls --json | jq '.destinations[] | select(.parked > 0)'",
        more="BEHIND counts events of the archive, those not meant for the destination included. `removed`: it is not "
        "configured any more, its place and its parked events are kept. Times are UTC. Exits 3 where no daemon is "
        "running.",
    ),
)
def ls(config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """List destinations: how each is, since when, and how far it is behind."""
    with asking(config, data_dir) as daemon:
        answer = daemon.call("GET /destinations")
    if json:
        print_json(answer)
    elif not answer["destinations"]:
        print("there is no destination, and never was one")
    else:
        rows = (_row(name, told) for name, told in answer["destinations"].items())
        print_table(_COLUMNS, ("", "", "", "INT", "INT", "", ""), rows)


def _row(name: str, told: dict[str, Any]) -> tuple[object, ...]:
    why = told["problem"] or told.get("paused", {}).get("reason") or ""
    since = (told["since"] or "")[:19].replace("T", " ")
    return (
        name,
        told["type"] or "",
        told["state"],
        told["lag_events"],
        told["parked"],
        since,
        " ".join(why.split()),
    )


@app.command(
    short_help="Forget a destination that was removed.",
    epilog=examples(
        "cdpd destinations forget webhook --dry-run",
        "cdpd destinations forget webhook --parked",
        more="For one that is not in the configuration any more and will not come back: if it does, it begins anew, at "
        "its `from`. The files in its own folder stay. Exits 3 where no daemon is running.",
    ),
)
def forget(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As it was in [destinations.NAME].")],
    parked: Annotated[bool, typer.Option("--parked", help="Its parked events too, for good.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be forgotten.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Forget a destination that was removed: its place, its pause, its journal, with --parked its parked events."""
    with asking(config, data_dir) as daemon:
        answer = daemon.call("POST /destinations/forget", _Forget(name, parked, dry_run), 60.0)
    if json:
        print_json(answer)
        return
    place = answer["position"]
    told = [f"its place at offset {place:,} of events" if place is not None else "no place"]
    told += [f"{plural(answer['parked'], 'parked event')}"] if answer["parked"] else []
    print(f"{name} {'would be' if dry_run else 'is'} forgotten: {', '.join(told)}")
    if answer["events_to_come"]:
        print(f"it had not come to the {plural(answer['events_to_come'], 'event')} from there on")


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
