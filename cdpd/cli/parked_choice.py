"""The options of `cdpd parked` by which parked events are chosen."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from cdpd.cli.exits import USAGE, CommandError
from cdpd.config.duration import parse_duration
from cdpd.delivery.parked import ParkedFilter
from cdpd.timestamp import parse_time

TIME_FORMS: Final = "a time (2026-01-31T12:00:00Z) or an age (15m, 7d)"
IdsArgument = Annotated[
    list[int] | None,
    typer.Argument(metavar="ID", help="As `cdpd parked ls --events` shows them.", show_default=False),
]
DestinationOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only of this destination, configured or not.", show_default=False),
]
ReasonOption = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Only where this stands in the reason.", show_default=False),
]
StatusOption = Annotated[
    int | None, typer.Option(metavar="N", help="Only with this status of the answer.", show_default=False)
]
EventOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only tracks of this name, or calls of this type.", show_default=False),
]
SourceOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only of this source.", show_default=False)
]
MessageOption = Annotated[
    str | None,
    typer.Option(
        "--message-id", metavar="ID", help="Only the event with this messageId.", show_default=False
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help=f"Parked since: {TIME_FORMS}.", show_default=False),
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Parked before.", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="Everything that is parked.")]


def chosen(
    ids: list[int] | None,
    destination: str | None,
    reason: str | None,
    status: int | None,
    event: str | None,
    source: str | None,
    message_id: str | None,
    start: str | None,
    to: str | None,
) -> ParkedFilter:
    """What the options choose. Raises CommandError."""
    now_ms = time.time_ns() // 1_000_000
    return ParkedFilter(
        ids=ids or None,
        destination=destination,
        reason=reason,
        status=status,
        event=event,
        source=source,
        message_id=message_id,
        from_ms=_moment(start, now_ms),
        to_ms=_moment(to, now_ms),
    )


def check_meant(which: ParkedFilter, everything: bool) -> None:
    """Nobody means all of them by saying nothing. Raises CommandError."""
    if which.restricts == everything:
        raise CommandError(
            "either --all or what chooses, not both"
            if everything
            else "say which ones, e.g. --destination NAME (see cdpd parked ls), or --all for everything",
            USAGE,
        )


def _moment(text: str | None, now_ms: int) -> int | None:
    if text is None or text == "now":
        return None if text is None else now_ms
    at = parse_time(text)
    if at is not None:
        return at
    try:
        return now_ms - round(parse_duration(text) * 1000)
    except ValueError:
        raise CommandError(f"{text!r} is no moment: write {TIME_FORMS}", USAGE) from None
