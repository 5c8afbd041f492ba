"""`cdpd destination`: for authors of destinations, and for trying one out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cdpd import discovery
from cdpd.cli.exits import FAILED, USAGE, CommandError
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.terminal import coloured, paint, printable

if TYPE_CHECKING:
    from cdpd.destinations.contract import Destination
    from cdpd.testing.cases import Cases, Result

app = new_app(
    "Try a destination: its connection, an event, or cases from a file.",
    no_args_is_help=True,
    epilog=examples("cdpd destination check", "cdpd destination test mixpanel --event event.json"),
)


@app.callback()
def destination() -> None:
    """Keep the commands subcommands."""


@app.command(
    epilog=examples(
        "cdpd destination cases destination-cases.json",
        "cdpd destination cases destination-cases.json --destination mixpanel --json",
        more="A case names an action, settings and an event, and the requests that have to come of it; a response case "
        "an answer, and the outcome of each event. Nothing is sent. Exits 1 where a case fails.",
    )
)
def cases(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Cases, JSON.", show_default=False)],
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--destination", metavar="NAME", help="Only cases of this one; repeatable.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run a file of cases against the installed destinations."""
    import asyncio

    from cdpd.testing.cases import read_cases

    try:
        found = read_cases(file)
    except (OSError, ValueError) as error:
        raise CommandError(f"{file}: {error}", USAGE) from None
    results = asyncio.run(_run(found.of(only or ())))
    if not results:
        raise CommandError(f"{file} has no such case", USAGE)
    failed = sum(not result.passed for result in results)
    if json:
        split = {"cases": "case", "response_cases": "response case"}
        print_json(
            {key: [result for result in results if result.kind == kind] for key, kind in split.items()}
            | {"passed": len(results) - failed, "failed": failed}
        )
    else:
        colours = coloured(sys.stdout)
        print("\n".join(_shown(result, colours) for result in results))
        print(f"\n{plural(len(results), 'case')}, {failed} failed")
    if failed:
        raise typer.Exit(FAILED)


@app.command(
    "test",
    epilog=examples(
        "cdpd destination test mixpanel --event event.json",
        "cdpd log cat events --last 1 | cdpd destination test mixpanel --event - --live",
        more="Shows what filters, triggers and mappings do, and the request; secrets are masked. Nothing is sent "
        "without --live, and nothing is stored. Exits 1 where --live comes to anything but delivered or skipped.",
    ),
)
def try_out(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="As in [destinations.NAME].", show_default=False)
    ],
    event: Annotated[
        str, typer.Option("--event", metavar="FILE", help="An event, JSON; - for a pipe.", show_default=False)
    ],
    live: Annotated[bool, typer.Option("--live", help="Send it, and show the answers.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Bring one event through a destination of the configuration, step by step."""
    import asyncio

    from cdpd.cli.destination_test import read_event, shown, tried

    told = asyncio.run(tried(name, config, data_dir, read_event(event), live))
    if json:
        print_json(told)
    else:
        print(shown(told))
    if told.outcome not in ("", "delivered", "skipped"):
        raise typer.Exit(FAILED)


@app.command(
    epilog=examples(
        "cdpd destination check",
        "cdpd destination check mixpanel crm --json | jq '.destinations[] | select(.state != \"ok\")'",
        more="Asks each destination whether its settings are right and it can be reached, in ways that send no event; "
        "with a daemon running or not. The text after `ok` tells what is left to an event: `cdpd destination test`. "
        "`unknown`: it cannot be tested. Secrets are masked. Exits 1 where one fails.",
    ),
)
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="As in [destinations.NAME]; default: all.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Test the connections of destinations, without sending an event."""
    import asyncio

    from cdpd.cli.destination_check import checked, shown

    found = asyncio.run(checked(names or (), config, data_dir))
    if json:
        rows = [
            {"name": each.name, "type": each.type, "enabled": each.enabled, **msgspec.to_builtins(each.found)}
            for each in found
        ]
        print_json({"destinations": rows})
    else:
        print(shown(found))
    if any(each.found.state == "failed" for each in found):
        raise typer.Exit(FAILED)


async def _run(found: Cases) -> list[Result]:
    from cdpd.testing.cases import run_case, run_response_case

    kinds: dict[str, type[Destination] | None] = {}
    installed = discovery.destinations()
    for case in (*found.cases, *found.response_cases):
        name = str(case.get("destination", ""))
        if name not in kinds:
            kinds[name] = installed[name].load() if name in installed else None
    results = [await run_case(kinds[str(case.get("destination", ""))], case) for case in found.cases]
    return results + [
        await run_response_case(kinds[str(case.get("destination", ""))], case)
        for case in found.response_cases
    ]


def _shown(result: Result, colours: bool) -> str:
    word, colour = ("passed", "green") if result.passed else ("FAILED", "red")
    lines = [f"{paint(word, colour, colours)}  {result.destination}  {result.title}"]
    return "\n".join([*lines, *(f"        {printable(problem)}" for problem in result.problems)])
