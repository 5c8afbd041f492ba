"""`cdpd parked`: events that a destination refused for good; seeing why, sending them again, dropping them."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec import Struct

from cdpd.cli.answer import print_table
from cdpd.cli.exits import FAILED, CommandError
from cdpd.cli.located import asking, peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.cli.parked_choice import (
    AllOption,
    DestinationOption,
    EventOption,
    FromOption,
    IdsArgument,
    MessageOption,
    ReasonOption,
    SourceOption,
    StatusOption,
    ToOption,
    check_meant,
    chosen,
)
from cdpd.cli.parked_event import event_json, event_text
from cdpd.cli.parked_retry import RateOption, retry_parked, tell_missing
from cdpd.config.data_folder import state_db
from cdpd.delivery.errors import StateError
from cdpd.delivery.parked import ParkedFilter, ParkedGroup, groups, line, pages, reading
from cdpd.timestamp import format_time

app = new_app(
    "Events that a destination refused for good: kept with its answer, to be sent again or dropped.",
    no_args_is_help=True,
)
_MOST_GROUPS: Final = 500
"""Reasons that are listed; where each event has one of its own, they tell nothing."""
_GROUP_COLUMNS: Final = ("destination", "events", "status", "first", "last", "reason")
_EVENT_COLUMNS: Final = (
    "id", "parked", "destination", "source", "event", "message id", "offset", "refused", "status", "reason"
)  # fmt: skip
_NOTHING: Final = "no event is parked, or none like this"
_LONG: Final = 60.0
"""How many times longer than other calls a drop may take."""


class _Drop(Struct, frozen=True):
    filter: ParkedFilter
    everything: bool
    dry_run: bool


@app.command(
    short_help="List why events are parked, and how many; or each of them.",
    epilog=examples(
        "cdpd parked ls",
        "cdpd parked ls --destination webhook --status 422 --events",
        "cdpd parked ls --event 'Signed Up' --from 7d --events --json | jq .reason",
        more="Works without a running daemon too. Times are UTC. How long events stay parked is `keep_parked` in "
        "[delivery]; `cdpd parked show` tells all of one.",
    ),
)
def ls(
    ids: IdsArgument = None,
    destination: DestinationOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event: EventOption = None,
    source: SourceOption = None,
    message_id: MessageOption = None,
    start: FromOption = None,
    to: ToOption = None,
    events: Annotated[
        bool, typer.Option("--events", help="List each event, longest parked first, instead of the reasons.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON; with --events one object a line, with request and answer."),
    ] = False,
) -> None:
    """List why events are parked, and how many, by destination and reason; or each of them."""
    which = chosen(ids, destination, reason, status, event, source, message_id, start, to)
    with _state(config, data_dir) as db:
        if events:
            _print_events(db, which, json)
        else:
            _print_groups(db, which, json)


@app.command(
    short_help="Show parked events whole, with request and answer.",
    epilog=examples(
        "cdpd parked show 17",
        "cdpd parked show 17 --json | jq .line.properties",
        more="Secrets of the destination are masked in request and answer. Works without a running daemon too.",
    ),
)
def show(
    ids: Annotated[list[int], typer.Argument(metavar="ID", help="As `cdpd parked ls --events` shows them.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, with the event.")
    ] = False,
) -> None:
    """Show parked events whole: the event, why it was refused, what was sent and answered, when, and how often."""
    with _state(config, data_dir) as db:
        found = {one.id: one for page in pages(db, ParkedFilter(ids=ids)) for one in page}
        texts = []
        for id in dict.fromkeys(ids):
            one, content = found.get(id), line(db, id)
            if one is not None and content is not None:
                texts.append(event_json(one, content) if json else event_text(one, content))
    sys.stdout.write("".join(texts) if json else "\n\n".join(texts))
    missing = [str(id) for id in dict.fromkeys(ids) if id not in found]
    if missing:
        what = "no event is parked with the id" if len(missing) == 1 else "no events are parked with the ids"
        raise CommandError(f"{what} {', '.join(missing)}: it was sent, dropped, or never there", FAILED)


@app.command(
    short_help="Send parked events to their destinations again.",
    epilog=examples(
        "cdpd parked retry --destination webhook --dry-run",
        "cdpd parked retry --destination webhook --status 422",
        "cdpd parked retry 17 18",
        "cdpd parked retry --all --detach",
        more="The daemon sends them beside live traffic, with today's configuration: what is delivered is parked no "
        "longer, what is refused again stays. Ctrl-C lets it go on (`cdpd replay ls`). Exits 1 where some were "
        "refused again, 3 where no daemon is running.",
    ),
)
def retry(
    ids: IdsArgument = None,
    destination: DestinationOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event: EventOption = None,
    source: SourceOption = None,
    message_id: MessageOption = None,
    start: FromOption = None,
    to: ToOption = None,
    everything: AllOption = False,
    rate: RateOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would be sent.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for what comes of it.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Send parked events to their destinations again, once what made them be refused was put right."""
    which = chosen(ids, destination, reason, status, event, source, message_id, start, to)
    check_meant(which, everything)
    with asking(config, data_dir) as daemon:
        retry_parked(
            daemon, which, everything=everything, rate=rate, dry_run=dry_run, detach=detach, json=json
        )


@app.command(
    epilog=examples(
        "cdpd parked drop --destination webhook --reason 'unknown property' --dry-run",
        "cdpd parked drop --destination webhook --to 30d",
        "cdpd parked drop 17 18",
        more='They are not sent any more; they stay in the archive. With ordering = "strict" an event that holds the '
        "others lets them go. Exits 3 where no daemon is running.",
    )
)
def drop(
    ids: IdsArgument = None,
    destination: DestinationOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event: EventOption = None,
    source: SourceOption = None,
    message_id: MessageOption = None,
    start: FromOption = None,
    to: ToOption = None,
    everything: AllOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would be dropped.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Give parked events up, for good."""
    which = chosen(ids, destination, reason, status, event, source, message_id, start, to)
    check_meant(which, everything)
    with asking(config, data_dir) as daemon:
        answer = daemon.call("POST /parked/drop", _Drop(which, everything, dry_run), _LONG)
    tell_missing(which, answer["events"])
    if json:
        print_json(answer)
        return
    if not answer["events"]:
        print(_NOTHING)
        return
    verb = "would be dropped" if dry_run else "dropped"
    for name, count in answer["destinations"].items():
        print(f"{name}: {plural(count, 'parked event')} {verb}")


@contextmanager
def _state(config: Path | None, data_dir: Path | None) -> Iterator[sqlite3.Connection]:
    path = state_db(peek_or_stop(config, data_dir).data_dir)
    try:
        with reading(path) as db:
            if db is None:
                raise CommandError(f"there is no {path} yet; is it the right folder (--data-dir)?")
            yield db
    except StateError as error:
        raise CommandError(str(error)) from None


def _print_groups(db: sqlite3.Connection, which: ParkedFilter, json: bool) -> None:
    found = list(groups(db, which, _MOST_GROUPS + 1))
    shown, more = found[:_MOST_GROUPS], len(found) > _MOST_GROUPS
    if json:
        print_json({"groups": [_group(one) for one in shown], "more": more})
    elif not shown:
        print(_NOTHING)
    else:
        rows = (
            (
                one.destination,
                one.events,
                one.status or "",
                _time(one.first_ms),
                _time(one.last_ms),
                one.reason,
            )
            for one in shown
        )
        print_table(_GROUP_COLUMNS, ("", "INT", "", "", "", ""), rows)
        if more:
            print("and further reasons: choose with --destination or --reason, or list events with --events")


def _group(one: ParkedGroup) -> dict[str, object]:
    return {
        "destination": one.destination,
        "reason": one.reason,
        "status": one.status,
        "events": one.events,
        "first": format_time(one.first_ms),
        "last": format_time(one.last_ms),
    }


def _print_events(db: sqlite3.Connection, which: ParkedFilter, json: bool) -> None:
    found = (one for page in pages(db, which) for one in page)
    if json:
        for one in found:
            sys.stdout.write(event_json(one))
        return
    first = list(islice(found, 1))
    if not first:
        print(_NOTHING)
        return
    rows = (
        (
            one.id, _time(one.at_ms), one.destination, one.source, one.event, one.message_id,
            one.position.offset, one.attempts, one.status or "", one.reason,
        )
        for one in chain(first, found)
    )  # fmt: skip
    kinds = ("INT", "", "", "", "", "", "INT", "INT", "", "")
    print_table(_EVENT_COLUMNS, kinds, rows)


def _time(ms: int) -> str:
    return format_time(ms)[:19].replace("T", " ")
