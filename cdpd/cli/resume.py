"""`cdpd resume`: destinations that were paused by hand go on."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import Struct

from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.cli.pause import check_named

app = new_app()


class _Resume(Struct):
    destinations: list[str]


@app.command(
    epilog=examples(
        "cdpd resume webhook",
        "cdpd resume --all",
        more="Each goes on exactly where it was. A pause for wrong settings or credentials ends by itself, once they "
        "are put right. Exits 3 where no daemon is running.",
    )
)
def resume(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="As in [destinations.NAME].", show_default=False),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every destination that was paused by hand.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Let destinations go on that were paused with `cdpd pause`."""
    chosen = check_named(names, everything, "all that are paused")
    with asking(config, data_dir) as daemon:
        answer = daemon.call("POST /destinations/resume", _Resume(chosen))
    if json:
        print_json(answer)
        return
    told, before = answer["destinations"], answer["before"]
    for name, one in told.items():
        if name in before:
            print(f"{name} was not paused by hand; it is {one['state']}")
        elif one["state"] in ("removed", "disabled"):
            print(f"{name} is not paused any more; it is {one['state']}")
        else:
            waiting = plural(one["lag_events"], "event")
            print(f"{name} goes on at offset {one['position']:,} of events; {waiting} waited there")
    if not told:
        print("no destination is paused by hand")
