"""`cdpd tail`: events as they arrive, read from the stream on disk (also while the daemon is busy)."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.located import peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, examples, new_app
from cdpd.cli.streams import FromOption, Place, open_stream, parse_place
from cdpd.config.problem import did_you_mean
from cdpd.event import SET, TYPES
from cdpd.lines import Line, look_into, pretty
from cdpd.log.folder import StreamFolder
from cdpd.terminal import coloured

app = new_app()


@app.command(
    epilog=examples(
        "cdpd tail",
        "cdpd tail --type track --event 'Signed Up' --source website",
        "cdpd tail --from 15m --json | jq .properties",
        "cdpd tail --stream discarded",
    )
)
def tail(
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this source.", show_default=False)
    ] = None,
    type: Annotated[
        str | None,
        typer.Option(
            metavar="CALL",
            help="Only this call: track, page, identify … or set (objects).",
            show_default=False,
        ),
    ] = None,
    event: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this name.", show_default=False)
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this user.", show_default=False)
    ] = None,
    stream: Annotated[str, typer.Option(metavar="STREAM", help="events, received or discarded.")] = "events",
    start: FromOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print each line as stored, which is JSON.")] = False,
) -> None:
    """Watch events as they arrive, until Ctrl-C. Without --from: those that arrive from now on.

    Objects (POST /v1/set) are no events: --type set shows them.
    """
    known = (*TYPES, SET)
    if type is not None and type not in known:
        hint = did_you_mean(type, known) or f"one of {', '.join(known)}"
        raise CommandError(f"--type {type!r} is no call; {hint}", USAGE)
    folder = open_stream(peek_or_stop(config, data_dir).data_dir, stream)
    place = parse_place("now" if start is None else start, folder, time.time_ns() // 1_000_000)

    def wanted(line: Line) -> bool:
        return (
            (source is None or line.source == source)
            and (line.type == type if type is not None else line.type != SET or stream != "events")
            and (event is None or line.name == event)
            and (user is None or line.who == user)
        )

    import anyio

    async def watch() -> None:
        try:
            async with anyio.create_task_group() as tasks:

                async def until_nobody_reads() -> None:
                    await _pipe_closed()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(until_nobody_reads)
                await _follow(folder, stream, place, wanted, json)
        except BaseExceptionGroup as group:
            # What ended it (damage, a closed pipe, a full disk) is told as every command tells it.
            raise group.exceptions[0] from None

    anyio.run(watch)


async def _pipe_closed() -> None:
    """Return when stdout is a pipe whose other end is gone, as in `cdpd tail | head`; else never.

    Without it the end of the pipe would be noticed with the next event only.
    """
    import asyncio

    closed = asyncio.Event()
    try:
        fd = sys.stdout.fileno()
    except OSError:  # something in memory, not a file
        fd = None
    if fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode):
        # The writing end never becomes readable, but an error on it is told to readers too.
        asyncio.get_running_loop().add_reader(fd, closed.set)
    await closed.wait()


async def _follow(
    folder: StreamFolder, stream: str, place: Place, wanted: Callable[[Line], bool], json: bool
) -> None:
    colour = coloured(sys.stdout)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    async for piece in folder.follow(place.position(folder)):
        for _, offset, _, text in piece.records():
            line = look_into(stream, text)
            if not wanted(line) or not place.reached(offset, lambda line=line: line.at_ms):  # type: ignore[misc]  # bound now
                continue
            if json:
                sys.stdout.buffer.write(text + b"\n")
            else:
                sys.stdout.write(pretty(line, colour, width) + "\n")
        sys.stdout.flush()
