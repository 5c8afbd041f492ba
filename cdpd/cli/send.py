"""`cdpd send`: events from a file, a pipe or options to a running daemon."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from msgspec import Struct

from cdpd.cli.event_input import BadInput, Ready, event_of_options, read_events
from cdpd.cli.exits import FAILED, NOT_RUNNING, USAGE, CommandError
from cdpd.cli.located import daemon_url, peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.cli.uploader import Refused, Uploader, batches
from cdpd.config.peek import Peek
from cdpd.config.problem import did_you_mean

app = new_app()
_SHOWN = 20


def _text(flag: str, metavar: str, help: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=help, show_default=False)


@app.command(
    epilog=examples(
        "cdpd send --type track --event 'Signed Up' --user u1 --property plan=pro --property seats=3",
        "cdpd send --type identify --user u1 --trait email=ada@example.com",
        "cdpd send events.ndjson",
        "zstd -dc old.ndjson.zst | cdpd send - --url https://cdp.example.com --key wk_website_4f1c",
        more="Sent in batches, each stored before the next goes out; what gets no answer is tried again under the "
        "same messageId, so that it is stored once. Exits 1 where an event was refused or a line is no event.",
    )
)
def send(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="One event a line, or one JSON array; - for a pipe.", show_default=False
        ),
    ] = None,
    type: Annotated[
        str | None, _text("--type", "CALL", "identify, track, page, screen, group or alias.")
    ] = None,
    event: Annotated[str | None, _text("--event", "NAME", "A track event's name.")] = None,
    name: Annotated[str | None, _text("--name", "NAME", "A page's or screen's name.")] = None,
    user: Annotated[str | None, _text("--user", "ID", "The user's id (userId).")] = None,
    anonymous: Annotated[
        str | None, _text("--anonymous", "ID", "The id before a login (anonymousId).")
    ] = None,
    group: Annotated[str | None, _text("--group", "ID", "The group's id (groupId).")] = None,
    previous: Annotated[str | None, _text("--previous", "ID", "An alias's older id (previousId).")] = None,
    timestamp: Annotated[
        str | None, _text("--timestamp", "TIME", "When it happened, ISO 8601. Default: now.")
    ] = None,
    message_id: Annotated[
        str | None, _text("--message-id", "ID", "Its unique id. Default: made here.")
    ] = None,
    properties: Annotated[
        list[str],
        typer.Option("--property", metavar="KEY=VALUE", help="A property; VALUE may be JSON. Repeatable."),
    ] = [],  # noqa: B006 - typer copies it
    traits: Annotated[
        list[str],
        typer.Option("--trait", metavar="KEY=VALUE", help="A trait, for identify and group. Repeatable."),
    ] = [],  # noqa: B006
    context: Annotated[
        list[str], typer.Option("--context", metavar="KEY=VALUE", help="A part of the context. Repeatable.")
    ] = [],  # noqa: B006
    url: Annotated[
        str | None, _text("--url", "URL", "The daemon. Default: the one on the data folder.")
    ] = None,
    key: Annotated[str | None, _text("--key", "KEY", "The write key. Default: the source's.")] = None,
    source: Annotated[
        str | None, _text("--source", "NAME", "The source to send as. Default: the only one.")
    ] = None,
    retries: Annotated[
        int, typer.Option("--retries", metavar="N", min=0, help="How often to try a batch again.")
    ] = 5,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Send events to a daemon: from a file, from a pipe, or one described by options."""
    texts = {
        "event": event, "name": name, "userId": user, "anonymousId": anonymous, "groupId": group,
        "previousId": previous, "timestamp": timestamp, "messageId": message_id,
    }  # fmt: skip
    pairs: dict[str, Sequence[str]] = {"properties": properties, "traits": traits, "context": context}
    with ExitStack() as stack:
        events: Iterable[Ready | BadInput]
        size = 0
        if type is not None:
            if file is not None:
                raise CommandError("either a FILE or --type with its options, not both", USAGE)
            events = event_of_options(type, texts, pairs)
        elif any(texts.values()) or any(pairs.values()):
            raise CommandError("an event described by options needs --type, e.g. --type track", USAGE)
        else:
            opened, size, label = _open(file, stack)
            events = read_events(opened, label)
        address, write_key, as_source = _target(url, key, source, config, data_dir)
        uploader = Uploader(address, write_key, sleep=time.sleep, retries=retries, say=_say)
        stack.callback(uploader.close)
        count = _send_all(uploader, events, size)
    _report(count, address, as_source, json)
    if count.unheard:
        raise typer.Exit(NOT_RUNNING)
    if count.refused or count.bad:
        raise typer.Exit(FAILED)


class _Count(Struct):
    sent: int = 0
    refused: int = 0
    bad: int = 0
    stopped: str = ""
    unheard: bool = False
    """It ended because nobody answered."""


def _say(text: str) -> None:
    sys.stderr.write(f"cdpd: {text}\n")


def _open(file: str | None, stack: ExitStack) -> tuple[BinaryIO, int, str]:
    """(the input, its size or 0 where unknown, its name in messages)"""
    if file == "-" or (file is None and not sys.stdin.isatty()):
        return sys.stdin.buffer, 0, "stdin"
    if file is None:
        raise CommandError("nothing to send: name a FILE, pipe events in, or describe one with --type", USAGE)
    try:
        opened = stack.enter_context(open(file, "rb"))  # noqa: SIM115 - closed by the stack
        return opened, Path(file).stat().st_size, file
    except OSError as error:
        raise CommandError(f"cannot read {file}: {(error.strerror or str(error)).lower()}", USAGE) from None


def _target(
    url: str | None, key: str | None, source: str | None, config: Path | None, data_dir: Path | None
) -> tuple[str, str, str | None]:
    """(address, write key, source or None where the key was given)"""
    if url is not None and key is not None:
        return url, key, None
    found = peek_or_stop(config, data_dir)
    if key is None:
        source = _source(found, source)
        key = found.write_keys[source]
    return url or daemon_url(found), key, source


def _source(found: Peek, wanted: str | None) -> str:
    names = ", ".join(found.write_keys)
    if not found.write_keys:
        where = (
            f"{found.file} has no enabled source"
            if found.file
            else f"there is no daemon's key in {found.data_dir}"
        )
        raise CommandError(f"{where}; start one with `cdpd run`, or say --url and --key", USAGE)
    if wanted is None:
        if len(found.write_keys) > 1:
            raise CommandError(f"say which source to send as: --source NAME, one of {names}", USAGE)
        return names
    if wanted not in found.write_keys:
        hint = did_you_mean(wanted, found.write_keys) or f"sources: {names}"
        raise CommandError(f"there is no enabled source {wanted!r}; {hint}", USAGE)
    return wanted


def _send_all(uploader: Uploader, events: Iterable[Ready | BadInput], size: int) -> _Count:
    count = _Count()
    with ExitStack() as stack:
        advance = _progress(stack, size)
        for batch in batches(_good(events, count)):
            try:
                uploader.send(batch)
                count.sent += len(batch)
            except Refused as error:
                count.refused += len(batch)
                count.unheard = error.unheard
                _say(f"{plural(len(batch), 'event')} not taken: {error}")
                if error.final:
                    count.stopped = str(error)
                    break
            advance(sum(event.read for event in batch))
    return count


def _good(events: Iterable[Ready | BadInput], count: _Count) -> Iterator[Ready]:
    for event in events:
        if isinstance(event, Ready):
            yield event
            continue
        count.bad += 1
        if count.bad <= _SHOWN:
            _say(str(event))
        elif count.bad == _SHOWN + 1:
            _say("more such lines follow; only counted from here on")


def _progress(stack: ExitStack, size: int) -> Any:
    """A bar where a person is watching and the end is known; called with bytes of input done."""
    if not size or not sys.stderr.isatty():
        return lambda _: None
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    bar = Progress(
        BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    )
    stack.enter_context(bar)
    task = bar.add_task("", total=size)
    return lambda done: bar.advance(task, done)


def _report(count: _Count, address: str, source: str | None, json: bool) -> None:
    if json:
        print_json(
            {"url": address, "source": source, "sent": count.sent, "refused": count.refused, "bad": count.bad}
        )
        return
    parts = [f"sent {plural(count.sent, 'event')} to {address}" + (f" as source {source}" if source else "")]
    if count.refused:
        parts.append(f"{count.refused:,} refused")
    if count.bad:
        parts.append(f"{plural(count.bad, 'line')} not sent: no event")
    if count.stopped:
        parts.append("stopped before the end")
    print("; ".join(parts))
