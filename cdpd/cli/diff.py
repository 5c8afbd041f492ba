"""`cdpd diff`: what another configuration would change, tried on the traffic of the last day."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cdpd.cli.exits import FAILED, USAGE, CommandError
from cdpd.cli.located import config_error
from cdpd.cli.options import DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.cli.streams import PLACE_FORMS, open_stream, parse_place
from cdpd.config.data_folder import SOCKET, read_development_key, stream_folder
from cdpd.config.duration import FORM, parse_duration
from cdpd.config.load import LoadedConfig, load
from cdpd.config.peek import peek
from cdpd.config.problem import ConfigError
from cdpd.control.client import ControlClient, ControlRefused, NotRunning
from cdpd.log.folder import StreamFolder
from cdpd.timestamp import format_time

if TYPE_CHECKING:
    from cdpd.compare.comparison import Comparison
    from cdpd.compare.span import Bounds, Plan

app = new_app()
_LAST: Final = "24h"
_INTERRUPTED: Final = 130
_EVERY: Final = 10.0
"""Seconds between two lines where nobody watches a bar."""


@app.command(
    epilog=examples(
        "cdpd diff --config new.toml",
        "cdpd diff --config new.toml --last 7d --limit 100000",
        "cdpd diff --config new.toml --source website --event 'Signed Up' --samples 10",
        "cdpd diff --config new.toml --json | jq .counts",
        more="Nothing is sent, and nothing is stored. Exits 0; with --exit-code 1 where an event would fare otherwise; "
        "2 where a configuration is wrong. Needs no running daemon.",
    )
)
def diff(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="NEW", help="The configuration to try.", show_default=False),
    ] = None,
    old: Annotated[
        Path | None,
        typer.Option(
            "--old",
            metavar="FILE",
            help="The one that is in use. Default: ./cdpd.toml, else /etc/cdpd/cdpd.toml.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(
            metavar="AGE", help=f"Traffic of so long until now. Default: {_LAST}.", show_default=False
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="PLACE", help=f"Traffic since: {PLACE_FORMS}.", show_default=False),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="PLACE", help="Traffic before.", show_default=False)
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this source.", show_default=False)
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only of this name (of a track, page or screen).", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Read so many events at most, evenly over the time where there are more.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option(metavar="N", min=0, help="Examples of each kind of change.")] = 3,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 1 where anything would change.")
    ] = False,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Try another configuration on stored traffic, and see what it would change.

    The events that were received go through the hooks and to the destinations of both configurations, as a rehearsal:
    which would be newly discarded or kept, which fields and which requests would be others, by hook, source, event and
    destination, with examples.
    """
    if config is None:
        raise CommandError("say which configuration to try: cdpd diff --config NEW.toml", USAGE)
    if last is not None and start is not None:
        raise CommandError("either --last or --from, not both", USAGE)
    before, after = _loaded(old, config, data_dir)
    received = open_stream(before.data_dir, "received")
    bounds = _bounds(received, last, start, to)

    from cdpd.compare.comparison import Comparison, Wanted
    from cdpd.compare.report import report
    from cdpd.compare.span import plan

    planned = plan(received, bounds, limit)
    comparison = Comparison(before, after, Wanted(source, event), samples)
    complete = _run(comparison, received, planned)
    found = report(comparison, planned, _notes(before), complete=complete)
    if json:
        print_json(found)
    elif found.compared and not found.looked.events:
        print(_nothing(received, bounds, source, event))
    else:
        from cdpd.cli.diff_report import print_report

        print_report(found)
    if not complete:
        raise typer.Exit(_INTERRUPTED)
    if exit_code and comparison.differs:
        raise typer.Exit(FAILED)


def _loaded(old: Path | None, new: Path, data_dir: Path | None) -> tuple[LoadedConfig, LoadedConfig]:
    try:
        found = peek(old, data_dir)
        if found.file is None and read_development_key(found.data_dir) is None:
            raise CommandError(
                "no configuration is found here: name the one that is in use with --old", USAGE
            )
        before = load(old, data_dir, development=True)
        after = load(new, data_dir)
    except ConfigError as error:
        raise config_error(error.problems) from None
    if before.files and before.files[0].resolve() == after.files[0].resolve():
        raise CommandError(
            f"both configurations are {new}: copy it and change the copy, or name the old one with --old",
            USAGE,
        )
    return before, after


def _bounds(received: StreamFolder, last: str | None, start: str | None, to: str | None) -> Bounds:
    from cdpd.compare.span import Bounds

    now_ms = time.time_ns() // 1_000_000
    if start is None:
        try:
            parse_duration(last or _LAST)
        except ValueError:
            raise CommandError(f"--last {last!r} is no duration: write {FORM}", USAGE) from None
    first = parse_place(last or _LAST if start is None else start, received, now_ms)
    end = None if to is None else parse_place(to, received, now_ms)
    if end is None:
        return Bounds(first.offset, first.ms)
    return Bounds(first.offset, first.ms, end.offset, end.ms)


def _run(comparison: Comparison, received: StreamFolder, planned: Plan) -> bool:
    """Compare; False where Ctrl-C stopped it."""
    import anyio

    from cdpd import discovery
    from cdpd.clock import SystemClock
    from cdpd.delivery.making import DestinationError
    from cdpd.pipeline.chain import HookError

    discarded = stream_folder(comparison.old.data_dir, "discarded")
    turned_away = StreamFolder(discarded) if discarded.is_dir() else None
    with ExitStack() as stack:
        progress = _progress(stack, planned.lines)
        try:
            anyio.run(comparison.run, received, turned_away, planned, discovery, SystemClock(), progress)
        except KeyboardInterrupt:
            return False
        except (HookError, DestinationError) as error:
            raise CommandError(str(error)) from None
    return True


def _notes(before: LoadedConfig) -> list[str]:
    """Whether the daemon that runs has the old configuration."""
    try:
        running = ControlClient(before.data_dir / SOCKET, timeout=5).status().get("configuration_id")
    except (NotRunning, ControlRefused):
        return []
    if running in (None, f"{before.config_id:016x}"):
        return []
    where = before.files[0] if before.files else "the development daemon's"
    return [
        f"the daemon that runs has other hooks or sources than {where}: that was changed since it was loaded "
        "(`cdpd reload` applies it), or is another one (--old names it)"
    ]


def _nothing(received: StreamFolder, bounds: Bounds, source: str | None, event: str | None) -> str:
    segments = received.segments()
    lines = received.end().offset - received.begin()
    if not lines or not segments:
        return "nothing was received yet"
    only = "".join(
        f" {word} {value!r}"
        for word, value in (("of source", source), ("called", event))
        if value is not None
    )
    since = "" if bounds.from_ms is None else f" since {_moment(bounds.from_ms)}"
    until = "" if bounds.to_ms is None else f" before {_moment(bounds.to_ms)}"
    there = f"{_moment(segments[0].first_ms)} to {_moment(segments[-1].last_ms)}"
    return (
        f"no event{only} was received{since}{until}; there are {plural(lines, 'line')}, from {there} "
        "(--last, --from and --to choose)"
    )


def _moment(ms: int) -> str:
    return format_time(ms)[:19].replace("T", " ") + " UTC"


def _progress(stack: ExitStack, total: int) -> Callable[[int], None]:
    if not sys.stderr.isatty():
        return _lines(total)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar: Any = Progress(
        TextColumn("comparing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    stack.enter_context(bar)
    task = bar.add_task("", total=total)
    return lambda count: bar.advance(task, count)


def _lines(total: int) -> Callable[[int], None]:
    done, told = 0, time.monotonic()

    def progress(count: int) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told >= _EVERY:
            told = time.monotonic()
            sys.stderr.write(f"cdpd: {done:,} of {total:,} compared\n")

    return progress
