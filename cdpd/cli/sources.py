"""`cdpd sources`: which sources there are, and when each of their write keys was last used."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.located import asking, config_error, peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import columns, print_json
from cdpd.timestamp import format_time

app = new_app(
    "The websites, apps and servers whose events are taken, and the write keys by which they are known.",
    no_args_is_help=True,
)
SourceArgument = Annotated[
    str | None, typer.Argument(metavar="[SOURCE]", help="Only this source.", show_default=False)
]


@app.command(epilog=examples("cdpd sources ls", "cdpd sources ls --json | jq .[].name"))
def ls(config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """List the sources: type, labels, number of write keys, last use, events since the daemon started."""
    found = _sources(config, data_dir)
    if json:
        print_json(found)
        return
    rows = [
        (
            source["name"],
            source["type"] or "",
            "yes" if source["enabled"] else "no",
            " ".join(f"{key}:{value}" for key, value in source["labels"].items()),
            len(source["keys"]),
            _when(max((key["last_ms"] for key in source["keys"] if key["last_ms"]), default=None)),
            source.get("received", ""),
        )
        for source in found
    ]
    header = ("SOURCE", "TYPE", "ENABLED", "LABELS", "KEYS", "LAST USED", "EVENTS")
    print(columns(rows, header), end="")


@app.command(
    epilog=examples(
        "cdpd sources keys website",
        more="To change a key: add a new one to write_keys, `cdpd reload`, give it to the SDKs, wait here until "
        "nobody uses the old one any more, take that away and `cdpd reload`. Without a running daemon the "
        "times are those that the last one kept.",
    )
)
def keys(
    source: SourceArgument = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Show each write key, and when it was first and last used."""
    found = _sources(config, data_dir)
    if source is not None:
        names = [one["name"] for one in found]
        if source not in names:
            from cdpd.config.problem import did_you_mean

            hint = did_you_mean(source, names) or f"configured: {', '.join(names) or 'none'}"
            raise CommandError(f"there is no source {source!r}; {hint}", USAGE)
        found = [one for one in found if one["name"] == source]
    if json:
        print_json([{"source": one["name"], **key} for one in found for key in one["keys"]])
        return
    rows = [
        (one["name"], key["key"], _when(key["first_ms"]), _when(key["last_ms"]), key["requests"])
        for one in found
        for key in one["keys"]
    ]
    print(columns(rows, ("SOURCE", "WRITE KEY", "FIRST USED", "LAST USED", "REQUESTS")), end="")


def _sources(config: Path | None, data_dir: Path | None) -> list[dict[str, Any]]:
    """What the daemon says; where none runs, what the configuration and its last run's file say."""
    from cdpd.control.client import NoAnswer, NotRunning

    with asking(config, data_dir) as daemon:
        try:
            found: list[dict[str, Any]] = daemon.call("GET /sources")["sources"]
            return found
        except NoAnswer:
            raise
        except NotRunning:
            return _from_files(config, data_dir)


def _from_files(config: Path | None, data_dir: Path | None) -> list[dict[str, Any]]:
    from cdpd.config.data_folder import key_use_file
    from cdpd.config.load import load
    from cdpd.config.problem import ConfigError
    from cdpd.ingest.key_use import read_uses
    from cdpd.ingest.report import sources_report

    try:
        loaded = load(config, data_dir)
    except ConfigError as error:
        raise config_error(error.problems) from None
    uses = read_uses(key_use_file(peek_or_stop(config, data_dir).data_dir))
    found: list[dict[str, Any]] = sources_report(loaded.config.sources, uses)["sources"]
    return found


def _when(ms: int | None) -> str:
    """A time, and how long ago that is."""
    if ms is None:
        return "never"
    ago = max(time.time() - ms / 1000, 0)
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if ago >= 2 * seconds:
            return f"{format_time(ms)[:19]}Z ({ago // seconds:.0f} {unit} ago)"
    return f"{format_time(ms)[:19]}Z (just now)" if ago < 60 else f"{format_time(ms)[:19]}Z (a minute ago)"
