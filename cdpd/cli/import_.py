"""`cdpd import`: archives of Segment, RudderStack and cdpd, and CSV, into a source."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, Literal, get_args

import typer
from msgspec import Struct

from cdpd.bring.event import Treatment
from cdpd.bring.importer import Importer, Wanted
from cdpd.bring.inputs import ENDINGS, PIPE, Inputs, local, piped
from cdpd.bring.mapping import MappingError, mapping_of
from cdpd.bring.progress import Progress, ProgressError, kept_progress
from cdpd.bring.reading import Format
from cdpd.bring.sending import Interrupted, NotTaken, Sender, Stopped
from cdpd.bring.unpack import Unreadable
from cdpd.cli.exits import FAILED, USAGE, CommandError
from cdpd.cli.import_report import Outcome, Teller
from cdpd.cli.located import asking, peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.config.data_folder import SOCKET, imports_folder
from cdpd.config.peek import Peek
from cdpd.config.problem import did_you_mean
from cdpd.control.client import ControlClient, NotRunning
from cdpd.timestamp import parse_time

app = new_app()
_INTERRUPTED: Final = 130
_AGAIN: Final = "run the same command again to go on"
_FORMATS: Final[tuple[str, ...]] = get_args(Format)


def _option(*flags: str, metavar: str, help: str) -> Any:
    return typer.Option(*flags, metavar=metavar, help=help, show_default=False)


@app.command(
    epilog=examples(
        "cdpd import ./segment-logs --source website --dry-run",
        "cdpd import s3://my-archive/segment-logs/SOURCE_ID --source website",
        "cdpd import orders.csv --source shop --set type=track --set event='Order Completed' \\",
        "    --column userId=customer --column timestamp=paid_at --column properties.total:number=total",
        "zstd -dc old.ndjson.zst | cdpd import - --source website --received now",
        more="Times and messageIds stay as the archive has them. The events go through the hooks of the source and "
        "into the archive and warehouses, but to no destination unless --deliver or --deliver-all say so: they were "
        "delivered once already. An import that was stopped goes on where it was when the same command is run again.",
    )
)
def import_(
    where: Annotated[
        str,
        typer.Argument(
            metavar="PATH|URL",
            help="A file, a folder, - for a pipe, or an s3://, gs://, az:// or https:// address.",
            show_default=False,
        ),
    ],
    source: Annotated[
        str | None, _option("--source", metavar="NAME", help="The source that the events become part of.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, send nothing, and say what would happen.")
    ] = False,
    deliver: Annotated[
        list[str],
        _option("--deliver", metavar="NAME", help="Deliver them to this destination too. Repeatable."),
    ] = [],  # noqa: B006 - typer copies it
    deliver_all: Annotated[
        bool,
        typer.Option("--deliver-all", help="Deliver them as if they came now, by their own `integrations`."),
    ] = False,
    start: Annotated[
        str | None, _option("--from", metavar="TIME", help="Only what happened then or later.")
    ] = None,
    to: Annotated[str | None, _option("--to", metavar="TIME", help="Only what happened before.")] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="End after so many events.", show_default=False),
    ] = None,
    format: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help=f"{', '.join(_FORMATS)}; auto looks at the content."),
    ] = "auto",
    column: Annotated[
        list[str],
        _option(
            *("--column",),
            metavar="PATH[:TYPE]=COLUMN",
            help="CSV: where a column goes. TYPE: string, number, integer, boolean, json, time. Repeatable.",
        ),
    ] = [],  # noqa: B006
    fixed: Annotated[
        list[str],
        _option("--set", metavar="PATH[:TYPE]=VALUE", help="CSV: what all events have. Repeatable."),
    ] = [],  # noqa: B006
    map: Annotated[
        Path | None, _option("--map", metavar="FILE", help="CSV: the mapping, as a TOML file.")
    ] = None,
    delimiter: Annotated[
        str | None,
        _option(
            "--delimiter", metavar="CHAR", help="CSV: between cells. Default: what the first line shows."
        ),
    ] = None,
    received: Annotated[
        str,
        typer.Option(
            metavar="WHEN", help="receivedAt: `archive` keeps the archive's, `now` is the time of the import."
        ),
    ] = "archive",
    store: Annotated[
        list[str],
        _option(
            *("--store",),
            metavar="KEY=VALUE",
            help="A setting of the object store, like region=eu-west-1 or skip_signature=true. Repeatable.",
        ),
    ] = [],  # noqa: B006
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget what was imported before, and begin anew.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first line that is no event.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Import events from files or object stores: Segment's and RudderStack's archives, cdpd's own, and CSV."""
    if deliver and deliver_all:
        raise CommandError("either --deliver or --deliver-all, not both", USAGE)
    located = peek_or_stop(config, data_dir)
    daemon = _ask(config, data_dir, located, dry_run)
    into = _source(source, daemon)
    keys = None if deliver_all else _keys(deliver, daemon)
    when: Literal["archive", "now"] = (
        "now" if _one_of("--received", received, ("archive", "now")) == "now" else "archive"
    )
    form: Format = _one_of("--format", format, _FORMATS)  # type: ignore[assignment]  # checked by it
    try:
        wanted = Wanted(
            Treatment(into, when, keys),
            form,
            mapping_of(map, column, fixed, delimiter),
            _time("--from", start),
            _time("--to", to),
            limit,
            restart,
            strict,
        )
        inputs = _inputs(where, store)
    except MappingError as error:
        raise CommandError(str(error), USAGE) from None
    except Unreadable as error:
        raise CommandError(str(error)) from None
    if not inputs.found:
        others = f"; {plural(inputs.left_out, 'file')} with other names" if inputs.left_out else ""
        raise CommandError(f"nothing to import in {where}: no file ends in {', '.join(ENDINGS)}{others}")
    run = _Run(inputs, wanted, daemon, located.data_dir, _delivery(keys, daemon))
    try:
        outcome, code = run.dry() if dry_run else run.real()
    except ProgressError as error:
        raise CommandError(str(error)) from None
    if json:
        print_json(outcome.as_json())
    else:
        sys.stdout.write(outcome.text())
    if code:
        raise typer.Exit(code)


class _Daemon(Struct, frozen=True):
    """What the daemon says of itself; of one that does not run what the configuration says."""

    sources: Sequence[str]
    destinations: dict[str, str]
    """Name → its key in `integrations`."""
    limits: dict[str, Any] = {}
    runs: bool = True


def _ask(config: Path | None, data_dir: Path | None, located: Peek, dry_run: bool) -> _Daemon:
    with asking(config, data_dir) as client:
        try:
            told = client.call("GET /import")
        except NotRunning:
            if not dry_run:
                raise
            return _Daemon(sorted(located.write_keys), {}, runs=False)
    return _Daemon(told["sources"], told["destinations"], told["limits"])


def _source(name: str | None, daemon: _Daemon) -> str:
    known = ", ".join(daemon.sources) or "none"
    if name is None:
        raise CommandError(f"say which source the events belong to: --source NAME; there is {known}", USAGE)
    if name not in daemon.sources:
        hint = did_you_mean(name, daemon.sources) or f"sources: {known}"
        raise CommandError(f"there is no source {name!r} in the configuration; {hint}", USAGE)
    return name


def _keys(names: Sequence[str], daemon: _Daemon) -> list[str]:
    """The keys in `integrations` of the destinations that were named."""
    keys = []
    for name in names:
        if daemon.runs and name not in daemon.destinations and name not in daemon.destinations.values():
            known = ", ".join(daemon.destinations) or "none"
            hint = did_you_mean(name, daemon.destinations) or f"destinations: {known}"
            raise CommandError(f"--deliver: there is no destination {name!r}; {hint}", USAGE)
        keys.append(daemon.destinations.get(name, name))
    return sorted(set(keys))


def _delivery(keys: Sequence[str] | None, daemon: _Daemon) -> str:
    if keys is None:
        return "to all destinations, by the events' own `integrations`"
    getting = [name for name, key in daemon.destinations.items() if key in keys]
    if keys:
        return f"to {', '.join(getting or keys)} only; and warehouses"
    return "to no destination (--deliver NAME, --deliver-all); warehouses get them"


def _one_of(option: str, text: str, allowed: Sequence[str]) -> str:
    if text not in allowed:
        hint = did_you_mean(text, allowed) or f"one of {', '.join(allowed)}"
        raise CommandError(f"{option}: there is no {text!r}; {hint}", USAGE)
    return text


def _time(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    ms = parse_time(text)
    if ms is None:
        raise CommandError(f"{option}: {text!r} is no time: write 2026-01-31 or 2026-01-31T12:00:00Z", USAGE)
    return ms


def _inputs(where: str, store: Sequence[str]) -> Inputs:
    """Raises Unreadable."""
    if where == PIPE:
        return piped(sys.stdin.buffer)
    scheme = where.partition("://")[0] if "://" in where else ""
    if not scheme:
        return local(Path(where))
    if scheme in ("http", "https"):
        from cdpd.bring.web import web

        return web(where)
    from cdpd.bring.stores import SCHEMES, stored

    if scheme not in SCHEMES:
        raise CommandError(f"{scheme}:// is not known; {', '.join(SCHEMES)} and https are", USAGE)
    options = {}
    for text in store:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CommandError(f"--store {text}: write KEY=VALUE, like region=eu-west-1", USAGE)
        options[key] = value
    return stored(where, options)


class _Run:
    """One run, real or dry."""

    def __init__(
        self, inputs: Inputs, wanted: Wanted, daemon: _Daemon, data_dir: Path, delivery: str
    ) -> None:
        self._inputs = inputs
        self._wanted = wanted
        self._daemon = daemon
        self._data_dir = data_dir
        self._delivery = delivery
        self._began = time.monotonic()

    @property
    def _source(self) -> str:
        return self._wanted.treatment.source

    def real(self) -> tuple[Outcome, int]:
        """(what it came to, the exit code). Raises CommandError where the daemon takes no more."""
        with ExitStack() as stack:
            stop = stack.enter_context(_stopped_by_signals())
            teller = Teller(stack, self._inputs.size, time.monotonic)
            client = ControlClient(self._data_dir / SOCKET)
            sender = Sender(client, self._source, sleep=time.sleep, say=teller.say, stop=stop)
            progress = self._progress(stack, keeps=True)
            importer = Importer(self._inputs, self._wanted, progress, sender.send, teller, stop)
            ended, code = self._finished(importer, teller)
        return self._outcome(importer, ended), code

    def dry(self) -> tuple[Outcome, int]:
        from cdpd.cli.import_dry import DryRun

        dry = DryRun(self._source, self._daemon.limits, time.time_ns() // 1_000_000)
        with ExitStack() as stack:
            stop = stack.enter_context(_stopped_by_signals())
            teller = Teller(stack, self._inputs.size, time.monotonic)
            if not self._daemon.runs:
                teller.say("no daemon is running: its destinations and limits are not known")
            progress = self._progress(stack, keeps=False)
            importer = Importer(self._inputs, self._wanted, progress, dry.send, teller, stop)
            ended, code = self._finished(importer, teller)
        return self._outcome(importer, ended, dry=True, codes=dry.codes, example=dry.example), code

    def _finished(self, importer: Importer, teller: Teller) -> tuple[str, int]:
        """(why it ended early, the exit code)"""
        again = (
            _AGAIN
            if self._inputs.resumable
            else "what comes through a pipe begins anew, without doubling a day's"
        )
        try:
            importer.run()
        except Interrupted:
            return f"stopped; {again}", _INTERRUPTED
        except NotTaken as error:
            teller.say(f"{error}; {again}")
            return str(error), FAILED
        except Stopped as error:
            teller.say(str(error))
            return str(error), FAILED
        tally = importer.tally
        if self._wanted.limit is not None and tally.events >= self._wanted.limit:
            return f"--limit; {again}", FAILED if tally.bad_lines or tally.files_broken else 0
        return "", FAILED if tally.bad_lines or tally.files_broken else 0

    def _outcome(self, importer: Importer, ended: str, **more: Any) -> Outcome:
        seconds = time.monotonic() - self._began
        left_out = self._inputs.left_out
        return Outcome(importer.tally, self._source, left_out, self._delivery, seconds, ended, **more)

    def _progress(self, stack: ExitStack, keeps: bool) -> Progress | None:
        folder = imports_folder(self._data_dir)
        if not self._inputs.resumable or not (keeps or folder.is_dir()):
            return None
        selection = f"{self._wanted.from_ms}..{self._wanted.to_ms}"
        return stack.enter_context(kept_progress(folder, self._source, selection, keeps=keeps))


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM came; a second one ends the process as usual."""
    came = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True
        sys.stderr.write("cdpd: stopping after this batch; once more stops at once\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
