"""`cdpd map`: a mapping on events from a file or a pipe."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from cdpd.cli.event_lines import Complaints, open_event_lines
from cdpd.cli.exits import FAILED, USAGE, CommandError
from cdpd.cli.options import examples, new_app
from cdpd.cli.output import plural
from cdpd.mapping.kit.compile import CompiledMapping, compile_mapping
from cdpd.mapping.kit.errors import MappingError, MappingFaults
from cdpd.mapping.kit.javascript import json_text
from cdpd.mapping.kit.nothing import NOTHING

app = new_app()


@app.command(
    epilog=examples(
        "cdpd log cat events | cdpd map mapping.toml",
        "cdpd map mapping.json events.ndjson",
        'cdpd log cat events | cdpd map \'{"email": {"@path": "$.traits.email"}}\'',
        more="Exits 2 where the mapping is wrong, with every fault and its place; 1 where an event could not be "
        "mapped. The directives: cdpd/mapping/README.md.",
    )
)
def map(
    mapping: Annotated[
        str, typer.Argument(metavar="MAPPING", help="A file, .toml or else JSON; or JSON itself: {…}.")
    ],
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="Events, one JSON object a line. Default: a pipe.", show_default=False
        ),
    ] = None,
) -> None:
    """Try a mapping: prints what it makes of each event, one JSON object a line."""
    compiled = _compiled(mapping)
    complaints = Complaints()
    with open_event_lines(file) as lines:
        for line in lines:
            if line.event is None:
                complaints.tell(f"{line.place}: {line.problem}")
                continue
            try:
                made = compiled.resolve(line.event)
            except MappingError as error:
                complaints.tell(f"{line.place}: {error}")
                continue
            text = json_text(None if made is NOTHING else made)
            sys.stdout.write(text.encode(errors="replace").decode() + "\n")
            if lines.is_live:
                sys.stdout.flush()
    if complaints.count:
        raise typer.Exit(FAILED)


def _compiled(mapping: str) -> CompiledMapping:
    written, name = (_json(mapping, "MAPPING"), "") if mapping.lstrip().startswith("{") else _read(mapping)
    try:
        return compile_mapping(written)
    except MappingFaults as error:
        faults = error.faults
        if len(faults) == 1:
            raise CommandError(f"{name}{faults[0]}", USAGE) from None
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise CommandError(f"{name}{plural(len(faults), 'fault')} in the mapping\n{listed}", USAGE) from None


def _read(path: str) -> tuple[Any, str]:
    """(the file's content, how a message about it begins)"""
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {(error.strerror or str(error)).lower()}", USAGE) from None
    except UnicodeDecodeError:
        raise CommandError(f"{path}: not UTF-8", USAGE) from None
    if not path.endswith(".toml"):
        return _json(text, path), f"{path}: "
    try:
        return tomllib.loads(text), f"{path}: "
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CommandError(f"{path}: not TOML: {error}", USAGE) from None


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise CommandError(f"{name}:{error.lineno}:{error.colno}: not JSON: {error.msg}", USAGE) from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{name}: not JSON: {error}", USAGE) from None
