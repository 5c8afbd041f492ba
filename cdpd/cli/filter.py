"""`cdpd filter`: an FQL expression on events from a file or a pipe."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cdpd.cli.event_lines import Complaints, EventLine, open_event_lines
from cdpd.cli.exits import FAILED, USAGE, CommandError
from cdpd.cli.options import examples, new_app
from cdpd.mapping.fql.errors import FqlError, FqlSyntaxError
from cdpd.mapping.fql.filter import Filter, compile_filter
from cdpd.mapping.fql.trigger import compile_trigger

app = new_app()


@app.command(
    epilog=examples(
        "cdpd log cat events | cdpd filter \"event = 'Signed Up' and properties.plan != 'free'\"",
        "cdpd log cat events | cdpd filter \"match(context.page.path, '/blog/*')\" --select",
        'cdpd filter --trigger \'type = "track" and !contains(event, "Test")\' events.ndjson',
        more="Exits 2 where the expression is wrong, and shows the place; 1 where it failed on an event (like "
        "length of a number): such an event is not sent by a destination, and counts as false here. The language: "
        "cdpd/mapping/README.md.",
    )
)
def filter(
    expression: Annotated[str, typer.Argument(metavar="FQL", help="The expression, in quotes.")],
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="Events, one JSON object a line. Default: a pipe.", show_default=False
        ),
    ] = None,
    select: Annotated[
        bool, typer.Option("--select", help="Print the events that match, instead of true or false.")
    ] = False,
    trigger: Annotated[
        bool, typer.Option("--trigger", help="Read it as a mapping's trigger, not as a filter.")
    ] = False,
) -> None:
    """Try a filter or a trigger: prints true or false for each event."""
    compiled = _compiled(expression, trigger)
    for warning in compiled.warnings:
        sys.stderr.write(f"cdpd: {warning}\n")
    complaints = Complaints()
    with open_event_lines(file) as lines:
        for line in lines:
            matches = _matches(compiled, line, complaints)
            if not select:
                sys.stdout.write("true\n" if matches else "false\n")
            elif matches:
                sys.stdout.write(line.text.decode(errors="replace") + "\n")
            if lines.is_live:
                sys.stdout.flush()
    if complaints.count:
        raise typer.Exit(FAILED)


def _compiled(expression: str, trigger: bool) -> Filter:
    try:
        return compile_trigger(expression) if trigger else compile_filter(expression)
    except FqlSyntaxError as error:
        shown = error.caret().replace("\n", "\n  ")
        raise CommandError(f"{error}\n  {shown}", USAGE) from None


def _matches(compiled: Filter, line: EventLine, complaints: Complaints) -> bool:
    if line.event is None:
        complaints.tell(f"{line.place}: {line.problem}")
        return False
    try:
        return compiled.test(line.event)
    except FqlError as error:
        complaints.tell(f"{line.place}: {error}")
        return False
