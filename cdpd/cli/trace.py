"""`cdpd trace`: the whole story of one event."""

from __future__ import annotations

import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.located import peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.cli.streams import open_stream
from cdpd.config.duration import parse_duration
from cdpd.config.problem import ConfigError
from cdpd.terminal import coloured
from cdpd.timestamp import parse_time

if TYPE_CHECKING:
    from cdpd.config.load import LoadedConfig

app = new_app()
_AROUND: Final = 3600
"""Seconds before and after `--at`."""
_TIME_FORMS: Final = "a time (2026-01-31T12:00:00Z) or an age (15m, 7d)"
_MANY: Final = 2_000_000
"""So many lines that have to be read take a while: it is said."""


@app.command(
    epilog=examples(
        "cdpd trace 5f3c1a7e-0c53-4b57-9d4f-0f8d3c1b2a90",
        "cdpd trace order-1234 --source website --at 2026-01-31T12:00:00Z",
        "cdpd trace order-1234 --json | jq '.receipts[].destinations'",
        more="Reads the data folder, whether the daemon runs or not, and sends nothing. Exits 1 where there is no such "
        "event.",
    )
)
def trace(
    message_id: Annotated[
        str, typer.Argument(metavar="MESSAGE_ID", help="The whole messageId of the event, as it was sent.")
    ],
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this source.", show_default=False)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help=f"Only where it came in within an hour of {_TIME_FORMS}.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help=f"Came in since: {_TIME_FORMS}.", show_default=False),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Came in before.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Tell the whole story of an event: how it came in, what each hook did, and what became of it where.

    All that came in with that messageId is shown: when, from where and by which SDK; the hooks, tried again on the
    stored line, with what each changed; who turned it away and why; and for each destination whether it got the event,
    with every try, or what keeps it from there.
    """
    if at is not None and (start is not None or to is not None):
        raise CommandError("either --at, or --from and --to, not both", USAGE)
    message_id = message_id.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not message_id:
        raise CommandError("the messageId is empty; name the one that the event was sent with", USAGE)
    now_ms = time.time_ns() // 1_000_000
    from_ms, to_ms = _ms(start, now_ms), _ms(to, now_ms)
    if at is not None:
        middle = _ms(at, now_ms) or 0
        from_ms, to_ms = middle - _AROUND * 1000, middle + _AROUND * 1000
    found = peek_or_stop(config, data_dir).data_dir
    open_stream(found, "received")

    from cdpd.trace.searching import Wanted, search

    with ThreadPoolExecutor(1) as thread:
        searching = thread.submit(search, found, Wanted(message_id, source, from_ms, to_ms), _telling)
        # Meanwhile what the story needs: to load it takes as long as to search a large archive.
        loaded, problem = _loaded(config, data_dir)

        import anyio

        from cdpd import discovery
        from cdpd.clock import SystemClock
        from cdpd.trace.tracing import trace

        story = anyio.run(trace, searching.result(), loaded, discovery, SystemClock())
    if problem:
        story.notes.insert(0, problem)
    if json:
        print_json(story)
    else:
        from cdpd.cli.trace_report import TraceReport, not_found

        if not story.found:
            raise CommandError(not_found(story, source))
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        sys.stdout.write(TraceReport(story, width=width, colours=coloured(sys.stdout)).text())
    if not story.found:
        raise typer.Exit(1)


def _ms(text: str | None, now_ms: int) -> int | None:
    if text is None:
        return None
    at = parse_time(text)
    if at is not None:
        return at
    try:
        return now_ms - round(parse_duration(text) * 1000)
    except ValueError:
        raise CommandError(f"{text!r} is no time: write {_TIME_FORMS}", USAGE) from None


def _loaded(config: Path | None, data_dir: Path | None) -> tuple[LoadedConfig | None, str]:
    """The configuration; where it is wrong none, and what to say of that."""
    from cdpd.config.load import load

    try:
        return load(config, data_dir, development=True), ""
    except ConfigError as error:
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        text = (
            f"the configuration is wrong, so hooks and destinations are left out: {error.problems[0]}{more}"
        )
        return None, text


def _telling(stream: str, lines: int) -> None:
    if lines >= _MANY:
        text = f"{plural(lines, 'line')} of {stream} are not indexed yet and have to be read; --at makes it quicker"
        sys.stderr.write(f"cdpd: {text}\n")
