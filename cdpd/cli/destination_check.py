"""`cdpd destination check`: which connections are tested, and how it is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdpd.cli.destination_test import options_of
from cdpd.cli.output import plural
from cdpd.terminal import coloured, paint, printable

if TYPE_CHECKING:
    from cdpd.delivery.checking import CheckedDestination

_COLOURS: Final = {"ok": "green", "failed": "red", "unknown": "yellow"}
_WORDS: Final = {"failed": "FAILED"}
_LONGEST: Final = 300
"""Characters of a line of the answer that are shown."""


async def checked(
    names: Sequence[str], config: Path | None, data_dir: Path | None
) -> list[CheckedDestination]:
    """Test these destinations, all of the configuration where none is named. Raises CommandError."""
    import anyio
    import structlog

    from cdpd import discovery
    from cdpd.clock import SystemClock
    from cdpd.delivery.checking import CheckedDestination, check_destination
    from cdpd.delivery.making import DestinationError, Maker
    from cdpd.destinations.checked import Checked

    loaded, chosen = options_of(names, config, data_dir)
    maker = Maker(discovery, loaded.data_dir, SystemClock(), structlog.get_logger())
    found: dict[str, CheckedDestination] = {}

    async def one(name: str) -> None:
        try:
            found[name] = await check_destination(name, maker.read(name, chosen[name]), maker)
        except DestinationError as error:
            kind = str(chosen[name].get("type", name))
            found[name] = CheckedDestination(name, kind, Checked("failed", str(error)))

    async with anyio.create_task_group() as tasks:
        for name in chosen:
            tasks.start_soon(one, name)
    return [found[name] for name in chosen]


def shown(found: Sequence[CheckedDestination]) -> str:
    """For people."""
    if not found:
        return "there is no destination in the configuration"
    colours = coloured(sys.stdout)
    width = max(len(each.name) for each in found)
    lines = [line for each in found for line in _one(each, width, colours)]
    failed = sum(each.found.state == "failed" for each in found)
    return "\n".join([*lines, "", f"{plural(len(found), 'destination')}, {failed} failed"])


def _one(each: CheckedDestination, width: int, colours: bool) -> Iterable[str]:
    state = each.found.state
    word = paint(f"{_WORDS.get(state, state):<7}", _COLOURS[state], colours)
    name = paint(f"{each.name:<{width}}", "bold", colours)
    disabled = "" if each.enabled else " (it is not enabled)"
    yield f"{word}  {name}  {printable(each.found.text)}{disabled}"
    if state == "ok":
        return
    indent = " " * (width + 11)
    request = each.found.request.partition("\n")[0]
    if request:
        yield f"{indent}{printable(request)}"
    if each.found.status is not None:
        answer = printable(each.found.answer)[:_LONGEST]
        yield f"{indent}answered {each.found.status}: {answer}".rstrip(": ")
