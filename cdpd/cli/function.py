"""`cdpd function`: try a function on events without a daemon, and see what failed in those that run."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer
from msgspec import Struct

from cdpd.cli.event_lines import open_event_lines
from cdpd.cli.exits import FAILED, USAGE, CommandError
from cdpd.cli.function_config import Known, known_function
from cdpd.cli.located import peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import print_json
from cdpd.terminal import coloured, paint, printable
from cdpd.timestamp import format_time

if TYPE_CHECKING:
    from cdpd.functions.frames import Ran, Result
    from cdpd.functions.kept import KeptError

app = new_app(
    "Functions: Python files of yours between a source and a destination. How to write one: "
    "cdpd/functions/README.md.",
    no_args_is_help=True,
    epilog=examples("cdpd function test functions/enrich.py --event events.ndjson", "cdpd function logs"),
)
_FINE = ("done", "dropped", "unsupported")
_COLOURS = {"done": "green", "dropped": "yellow", "unsupported": "yellow"}
_KINDS = ("source", "destination", "insert")


class Tried(Struct):
    """What came of one event or request, for people and machines."""

    input: str
    """Where it is from: `events.ndjson:3`."""
    ended: str
    """done, status, retry, timeout, unsupported, rejected, dropped, invalid_settings, failed"""
    message: str
    status: int | None
    event: msgspec.Raw | None
    """Of an insert function: the event as it goes on."""
    emitted: list[msgspec.Raw]
    """Of a source function."""
    output: str
    trace: str

    @property
    def fine(self) -> bool:
        return self.ended in _FINE or (self.ended == "status" and (self.status or 0) < 300)


@app.command(
    "test",
    epilog=examples(
        "cdpd function test functions/enrich.py --event events.ndjson",
        'cdpd function test functions/mine.py --event \'{"type": "track", "event": "Signed Up", "userId": "u1"}\'',
        "cdpd function test functions/stripe.py --event request.json --header 'Stripe-Signature: …'",
        "cdpd log cat events | cdpd function test functions/mine.py --batch",
        more="It runs for real: what the file sends is sent. Settings, the time limit and what the file is for come "
        "from the configuration where that names it, and from the options. Exits 1 where a call failed.",
    ),
)
def try_function(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The function, Python.", show_default=False)],
    event: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            metavar="FILE|JSON",
            help="An event, or of a source function the body of a request: JSON itself, or a file of them, one a "
            "line. Repeatable. Default: a pipe.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="KIND",
            help="source, destination or insert. Default: what the configuration says, or the file shows.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeatable.", show_default=False),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="NAME: VALUE",
            help="Of a source function's request; repeatable.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="All events in one call of on_batch.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="For one call.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Run a function on events, in its own process as the daemon does, and show what came of each."""
    import asyncio

    if kind is not None and kind not in _KINDS:
        raise CommandError(f"--as {kind}: one of {', '.join(_KINDS)} is expected", USAGE)
    found = known_function(file, kind, config, dict(map(_pair, settings or ())))
    if timeout is not None:
        found = msgspec.structs.replace(found, timeout=timeout)
    items = list(_items(event, found, dict(map(_header, header or ()))))
    if not items:
        raise CommandError("there is no event to try it on", USAGE)
    tried = asyncio.run(_try(found, items, batch=batch and found.kind != "source"))
    if json:
        print_json(tried)
    else:
        colours = coloured(sys.stdout)
        for one in tried:
            print(_shown(one, found.kind, colours))
    if not all(one.fine for one in tried):
        raise typer.Exit(FAILED)


@app.command(
    epilog=examples(
        "cdpd function logs",
        "cdpd function logs stripe",
        more="The 100 newest errors of each function are kept, for 30 days at most. NAME is that of the source or "
        "destination that has the function. No daemon needs to run.",
    )
)
def logs(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Default: all.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Show the newest errors of functions, with traceback and what they printed; the newest last."""
    errors = _kept(peek_or_stop(config, data_dir).data_dir)
    if name is not None:
        errors = [error for error in errors if name in (error.function, error.function.rpartition(" ")[2])]
    if json:
        print_json([{**msgspec.structs.asdict(error), "at": format_time(error.at_ms)} for error in errors])
    elif not errors:
        print("no errors of functions are kept" + ("" if name is None else f" of {name}"))
    else:
        print("\n\n".join(map(_error_text, errors)))


# -- trying ----------------------------------------------------------------------------------------------


class _Item(Struct):
    place: str
    text: bytes


def _items(given: Sequence[str] | None, found: Known, headers: dict[str, str]) -> Iterator[_Item]:
    """Raises CommandError for what is no event."""
    for number, source in enumerate(given or (None,), 1):
        if source is not None and source.lstrip().startswith("{"):
            lines = [(f"event {number}", source.encode(), _object(source))]
        else:
            lines = list(_read(source, found))
        for place, text, decoded in lines:
            if decoded is None:
                raise CommandError(f"{place}: this is no JSON object", USAGE)
            yield _Item(place, text if found.kind != "source" else _request(text, headers))


def _read(source: str | None, found: Known) -> Iterator[tuple[str, bytes, Any]]:
    if found.kind == "source" and source is not None and source != "-":
        # A request's body is one document, over several lines perhaps.
        try:
            text = Path(source).read_bytes()
        except OSError as error:
            raise CommandError(
                f"cannot read {source}: {(error.strerror or str(error)).lower()}", USAGE
            ) from None
        yield source, text, text
        return
    with open_event_lines(source) as lines:
        for line in lines:
            yield line.place, line.text, line.event


def _object(text: str) -> Any:
    try:
        found = json_.loads(text)
    except ValueError as error:
        raise CommandError(f"--event: not JSON: {error}", USAGE) from None
    return found if isinstance(found, dict) else None


def _request(body: bytes, headers: dict[str, str]) -> bytes:
    from cdpd.functions.frames import Webhook

    headers = {"content-type": "application/json", **headers}
    return msgspec.json.encode(Webhook("http://localhost/v1/fn/test", headers, body))


async def _try(found: Known, items: Sequence[_Item], *, batch: bool) -> list[Tried]:
    from cdpd.clock import SystemClock
    from cdpd.functions.process import CannotLoad, FunctionProcess

    tried: list[Tried] = []
    for some in [items] if batch else [[item] for item in items]:
        # Another process for each, so that one that hangs is told like all others.
        try:
            process = await FunctionProcess.start(found.file, found.kind, found.settings, SystemClock())
        except CannotLoad as error:
            trace = f"\n{error.trace}" if error.trace else ""
            raise CommandError(f"{found.file} cannot be run: {error}{trace}") from None
        ran = await _run(process, some, found.timeout)
        await process.end(0.5)
        tried += [
            _tried(item, result, ran.output if i == 0 else "")
            for i, (item, result) in enumerate(zip(some, ran.results, strict=True))
        ]
    return tried


async def _run(process: Any, items: Sequence[_Item], limit: float) -> Ran:
    from cdpd.functions.frames import Ran, Result
    from cdpd.functions.process import Gone

    try:
        ran: Ran = await process.run([msgspec.Raw(item.text) for item in items], limit)
    except Gone as error:
        return Ran(0, [Result("timeout", str(error)) for _ in items])
    return ran


def _tried(item: _Item, result: Result, output: str) -> Tried:
    from cdpd.event import Event
    from cdpd.functions.insert import changed

    event = None
    if result.ended == "done" and result.changed is not None:
        event = msgspec.Raw(changed(Event(item.text), result).line())
    return Tried(
        item.place, result.ended, result.message, result.status, event, result.emitted, output, result.trace
    )


def _shown(one: Tried, kind: Literal["source", "destination", "insert"], colours: bool) -> str:
    how = one.ended if one.status is None else f"{one.ended} {one.status}"
    colour = _COLOURS.get(one.ended, "green" if one.fine else "red")
    message = f": {printable(one.message)}" if one.message else ""
    lines = [f"{one.input}  {paint(how, colour, colours)}{message}"]
    if one.event is not None:
        lines.append(f"  {_line(one.event)}")
    lines += [f"  {_line(text)}" for text in one.emitted]
    if kind == "source" and one.ended == "done" and not one.emitted:
        lines.append("  it emitted nothing")
    for title, text in (("printed", one.output), ("traceback", one.trace)):
        if text:
            lines.append(f"  {title}:")
            lines += [f"    {printable(line)}" for line in text.splitlines()]
    return "\n".join(lines)


def _line(text: msgspec.Raw) -> str:
    return printable(bytes(text).decode(errors="replace"))


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CommandError(f"--set {text!r}: write KEY=VALUE", USAGE)
    try:
        return key, json_.loads(value)
    except ValueError:
        return key, value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise CommandError(f"--header {text!r}: write NAME: VALUE", USAGE)
    return name.strip().lower(), value.strip()


# -- errors that are kept --------------------------------------------------------------------------------


def _kept(data_dir: Path) -> list[KeptError]:
    """Of all functions, oldest first."""
    from cdpd.config.data_folder import functions_db, plugin_folder
    from cdpd.functions.insert import DB
    from cdpd.functions.kept import FunctionsDb

    files = [functions_db(data_dir), *sorted(plugin_folder(data_dir, ".").glob(f"*/{DB}"))]
    try:
        found = [error for file in files for error in FunctionsDb(file).errors()]
    except OSError as error:
        raise CommandError(str(error)) from None
    return sorted(found, key=lambda error: error.at_ms)


def _error_text(error: KeptError) -> str:
    lines = [
        f"{format_time(error.at_ms)}  {printable(error.function)}  {error.ended}: {printable(error.message)}"
    ]
    for title, text in (("of", error.item), ("printed", error.output), ("traceback", error.trace)):
        shown = [printable(line) for line in text.splitlines()]
        if len(shown) == 1:
            lines.append(f"  {title}: {shown[0]}")
        elif shown:
            lines += [f"  {title}:", *(f"    {line}" for line in shown)]
    return "\n".join(lines)
