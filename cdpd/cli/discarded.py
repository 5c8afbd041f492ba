"""`cdpd discarded`: what was turned away and why, and sending it through again."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from cdpd.cli.answer import print_table
from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.located import asking, peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import columns, plural, print_json
from cdpd.cli.streams import PLACE_FORMS, Place, open_stream, parse_place
from cdpd.control.contract import DiscardedFilter
from cdpd.lines import look_into
from cdpd.log.folder import StreamFolder

app = new_app(
    "Events that a hook turned away, or that could not be read, each kept with the reason.",
    no_args_is_help=True,
)
_NOTHING: Final = "no event was turned away, or none like this"
CodeOption = Annotated[
    str | None, typer.Option(metavar="CODE", help="Only with this code.", show_default=False)
]
ByOption = Annotated[
    str | None,
    typer.Option(metavar="HOOK", help="Only turned away by this hook, or by ingest.", show_default=False),
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
    typer.Option("--from", metavar="PLACE", help=f"Turned away since: {PLACE_FORMS}.", show_default=False),
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="PLACE", help="Turned away before.", show_default=False)
]


@app.command(
    epilog=examples(
        "cdpd discarded ls",
        "cdpd discarded ls --count",
        "cdpd discarded ls --code unknown_type --from 1d",
        "cdpd discarded ls --by dedup --json | jq .line.event",
    )
)
def ls(
    code: CodeOption = None,
    by: ByOption = None,
    source: SourceOption = None,
    message_id: MessageOption = None,
    start: FromOption = None,
    to: ToOption = None,
    count: Annotated[
        bool, typer.Option("--count", help="Only how many there are of each code, most frequent first.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line: its offset, and all that is stored.")
    ] = False,
) -> None:
    """List what was turned away, oldest first: when, by which hook, and why."""
    folder = open_stream(peek_or_stop(config, data_dir).data_dir, "discarded")
    which, first = _filter(folder, code, by, source, message_id, start, to)
    found = _lines(folder, which, first)
    if count:
        _print_counts(found, json)
    elif json:
        for offset, text in found:
            sys.stdout.write(f'{{"offset":{offset},{text[1:].decode()}\n')
    else:
        _print_list(found)


@app.command(
    short_help="Send events that were turned away through the hooks again.",
    epilog=examples(
        "cdpd discarded retry --code unknown_type --dry-run",
        "cdpd discarded retry --by geo --from 2026-01-31T12:00:00Z",
        "cdpd discarded retry --message-id 5f3c…",
        more="Each event goes through the hooks again with the time at which it first came in; one that is in the "
        "archive already is not stored twice. What was turned away stays listed. Exits 3 where no daemon runs.",
    ),
)
def retry(
    code: CodeOption = None,
    by: ByOption = None,
    source: SourceOption = None,
    message_id: MessageOption = None,
    start: FromOption = None,
    to: ToOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that was turned away.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many would be sent again.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Send events that were turned away through the hooks again, once what stopped them was put right."""
    chosen = any(option is not None for option in (code, by, source, message_id, start, to))
    if chosen == everything:
        raise CommandError(
            "say which ones, e.g. --code unknown_type (see cdpd discarded ls --count), or --all for everything"
            if not chosen
            else "either --all or options that choose, not both",
            USAGE,
        )
    folder = open_stream(peek_or_stop(config, data_dir).data_dir, "discarded")
    which, _ = _filter(folder, code, by, source, message_id, start, to)
    with asking(config, data_dir) as daemon:
        answer = daemon.retry_discarded(which, dry_run)
    if json:
        print_json(answer)
        return
    matched, retried, skipped = (answer.get(key, 0) for key in ("matched", "retried", "skipped"))
    if dry_run:
        print(f"{plural(matched, 'event')} would be sent again")
        return
    print(f"{plural(retried, 'event')} sent again{f'; {skipped:,} left out' if skipped else ''}")


def _filter(
    folder: StreamFolder,
    code: str | None,
    by: str | None,
    source: str | None,
    message_id: str | None,
    start: str | None,
    to: str | None,
) -> tuple[DiscardedFilter, Place]:
    """What the options choose, and the place where reading starts."""
    now_ms = time.time_ns() // 1_000_000
    first = parse_place("beginning" if start is None else start, folder, now_ms)
    last = parse_place(to, folder, now_ms) if to is not None else Place()
    which = DiscardedFilter(
        code=code,
        by=by,
        source=source,
        message_id=message_id,
        from_ms=first.ms,
        to_ms=last.ms,
        from_offset=first.offset or None,
        to_offset=last.offset,
    )
    return which, first


def _lines(folder: StreamFolder, which: DiscardedFilter, first: Place) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of those that are meant."""
    reader = folder.reader(first.position(folder))
    try:
        while (piece := reader.read()) is not None:
            for _, offset, _, text in piece.records():
                if which.to_offset is not None and offset >= which.to_offset:
                    return
                if which.takes(offset, text):
                    yield offset, text
    finally:
        reader.close()


def _print_list(found: Iterator[tuple[int, bytes]]) -> None:
    names = ("offset", "at", "source", "by", "code", "call", "name", "who", "message")

    def rows() -> Iterator[tuple[object, ...]]:
        for offset, text in found:
            line = look_into("discarded", text)
            at = line.at[:19].replace("T", " ")
            yield (
                offset, at, line.source, line.by, line.code, line.type or "?", line.name, line.who, line.detail
            )  # fmt: skip

    some = iter(rows())
    one = next(some, None)
    if one is None:
        print(_NOTHING)
        return

    def all_rows() -> Iterator[tuple[object, ...]]:
        yield one
        yield from some

    print_table(names, ("UBIGINT", *[""] * (len(names) - 1)), all_rows())


def _print_counts(found: Iterator[tuple[int, bytes]], json: bool) -> None:
    counts: Counter[tuple[str, str, str]] = Counter()
    messages: dict[tuple[str, str, str], str] = {}
    for _, text in found:
        line = look_into("discarded", text)
        key = (line.by, line.code, line.source)
        counts[key] += 1
        messages[key] = line.detail
    ordered = counts.most_common()
    if json:
        rows = [{"by": by, "code": code, "source": source, "count": n} for (by, code, source), n in ordered]
        print_json({"counts": rows, "total": counts.total()})
    elif not ordered:
        print(_NOTHING)
    else:
        table = [(n, *key, messages[key].partition("\n")[0]) for key, n in ordered]
        sys.stdout.write(columns(table, ("count", "by", "code", "source", "last message")))
