"""`cdpd destination test`: how it is read and shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from cdpd.cli.event_input import BadInput, read_events
from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.located import config_error
from cdpd.config.problem import ConfigError, did_you_mean
from cdpd.terminal import coloured, paint, printable

if TYPE_CHECKING:
    from cdpd.config.load import LoadedConfig
    from cdpd.delivery.tester import Tried


async def tried(name: str, config: Path | None, data_dir: Path | None, event: bytes, live: bool) -> Tried:
    """Try an event. Raises CommandError."""
    import structlog

    from cdpd import discovery
    from cdpd.clock import SystemClock
    from cdpd.delivery.making import DestinationError, Maker
    from cdpd.delivery.tester import NotAnEvent, try_event

    loaded, options = options_of([name], config, data_dir)
    clock = SystemClock()
    maker = Maker(discovery, loaded.data_dir, clock, structlog.get_logger())
    try:
        return await try_event(name, maker.read(name, options[name]), maker, event, clock, live=live)
    except (DestinationError, NotAnEvent) as error:
        raise CommandError(str(error), USAGE) from None


def options_of(
    names: Sequence[str], config: Path | None, data_dir: Path | None
) -> tuple[LoadedConfig, dict[str, dict[str, Any]]]:
    """The configuration, and these sections of destinations; all where none is named. Raises CommandError."""
    from cdpd.config.load import load

    try:
        loaded = load(config, data_dir=data_dir)
    except ConfigError as error:
        raise config_error(error.problems) from None
    known = loaded.config.destinations
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or (
                f"it has: {', '.join(sorted(known))}" if known else "it has none"
            )
            raise CommandError(f"there is no [destinations.{name}] in the configuration; {hint}", USAGE)
    return loaded, {name: known[name] for name in dict.fromkeys(names or known)}


def read_event(file: str) -> bytes:
    """The first event of a file, or of the standard input (`-`). Raises CommandError."""
    if file == "-":
        return _first(sys.stdin.buffer, "<stdin>")
    try:
        with Path(file).open("rb") as opened:
            return _first(opened, file)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", USAGE) from None


def _first(file: BinaryIO, name: str) -> bytes:
    content = file.read()
    try:
        event = msgspec.json.decode(content)
    except msgspec.DecodeError:
        pass  # several, one a line
    else:
        if isinstance(event, dict):
            return msgspec.json.encode(event)
    import io

    for found in read_events(io.BytesIO(content), name):
        if isinstance(found, BadInput):
            raise CommandError(str(found), USAGE)
        return found.text
    raise CommandError(f"{name} has no event", USAGE)


def shown(told: Tried) -> str:
    """For people."""
    colours = coloured(sys.stdout)
    lines = [paint(f"{told.destination} ({told.type})", "bold", colours)]
    if told.skip:
        why = f"the daemon would not send it there: {told.skip}" + (f", filter {told.by}" if told.by else "")
        lines.append(paint(f"  {why}; shown all the same", "yellow", colours))
    if told.event is not None:
        lines += ["  the filters leave:", *_json(told.event, 4)]
    for mapping in told.mappings:
        word = paint("matches", "green", colours) if mapping.matches else paint("no match", "dim", colours)
        lines.append(f"  {word}  {mapping.name} ({mapping.action}): {mapping.trigger}")
        if mapping.payload is not None:
            lines += ["    payload:", *_json({k: v for k, v in mapping.payload.items() if v is not None}, 6)]
        lines += [paint(f"    {printable(problem)}", "red", colours) for problem in mapping.problems]
    if told.note:
        lines.append(f"  {told.note}")
    for exchange in told.requests:
        lines += _exchange(exchange.request)
        if exchange.status is not None:
            lines.append(f"    answered {exchange.status}: {printable(exchange.answer)}".rstrip(": "))
    if told.outcome:
        good = told.outcome in ("delivered", "skipped")
        lines.append(
            f"  outcome: {paint(told.outcome, 'green' if good else 'red', colours)} {told.reason}".rstrip()
        )
    return "\n".join(lines)


def _exchange(request: Any) -> list[str]:
    if not isinstance(request, dict) or "method" not in request:
        return ["  sends:", *_json(request, 4)]
    lines = [f"  {request['method']} {request['url']}"]
    lines += [f"    {name}: {value}" for name, value in request.get("headers", {}).items()]
    for key in ("json", "form", "text", "body"):
        if key in request:
            lines += _json(request[key], 4)
    return lines


def _json(value: Any, indent: int) -> list[str]:
    if isinstance(value, str):
        return [" " * indent + printable(line) for line in value.splitlines()]
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return [" " * indent + line for line in text.splitlines()]
