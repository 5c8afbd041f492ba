"""`cdpd replay`: events of the archive go to one destination again; and the jobs of the daemon: ls, watch, cancel."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any, Final

import typer
from msgspec import Struct

from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.job_watch import ENDED, JobId, exit_code, goes_on, summary
from cdpd.cli.job_watch import watch as watch_job
from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import columns, print_json
from cdpd.cli.streams import PLACE_FORMS, told_place
from cdpd.config.problem import did_you_mean
from cdpd.config.rate import parse_rate
from cdpd.event import TYPES
from cdpd.terminal import printable

app = new_app("Send events of the archive to one destination again; and see what such jobs do.")
_LONG: Final = 10.0
"""Times the usual patience: finding a time in a large archive, ending what is in flight."""


class _Selection(Struct, omit_defaults=True):
    sources: list[str] | None = None
    events: list[str] | None = None
    types: list[str] | None = None


class _Replay(Struct):
    destination: str
    start: str
    end: str
    selection: _Selection
    rate: str | None


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `cdpd replay ls` shows it, like replay-3.")]


def _option(*flags: str, metavar: str, help: str) -> Any:
    return typer.Option(*flags, metavar=metavar, help=help, show_default=False)


@app.callback(
    invoke_without_command=True,
    subcommand_metavar="[ls|watch|cancel|resume]",
    epilog=examples(
        "cdpd replay --destination crm --from 2026-01-31T12:00:00Z --to 2026-02-01 --dry-run",
        "cdpd replay --destination crm --from 24h --source website --event 'Order Completed'",
        "cdpd replay --destination crm --from beginning --rate 100/s --detach",
        "cdpd replay ls",
        "cdpd replay watch replay-3",
        "cdpd replay cancel replay-3",
        more="The daemon does it, beside the destination's live traffic, which does not notice; also where the "
        "destination is paused or has enabled = false. It goes on by itself after a restart. Each event goes with its "
        "messageId and timestamp, and with `integrations` that name this destination only; the hooks do not run again, "
        "the destination's own sources, consent, filters and mappings apply. Nothing of it is counted as live traffic. "
        "Exits 3 where no daemon is running.",
    ),
)
def replay(
    context: typer.Context,
    destination: Annotated[
        str | None,
        _option("--destination", metavar="NAME", help="Where they go: as in [destinations.NAME]. Needed."),
    ] = None,
    start: Annotated[
        str | None,
        _option("--from", metavar="PLACE", help=f"Events received since: {PLACE_FORMS}. Needed."),
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help="… and before.")] = "now",
    source: Annotated[
        list[str], _option("--source", metavar="NAME", help="Only events of this source. Repeatable.")
    ] = [],  # noqa: B006 - typer's way of a list
    event: Annotated[
        list[str],
        _option("--event", metavar="NAME", help="Only tracks, pages and screens of this name. Repeatable."),
    ] = [],  # noqa: B006
    kind: Annotated[
        list[str],
        _option("--type", metavar="TYPE", help=f"Only these calls: {', '.join(TYPES)}. Repeatable."),
    ] = [],  # noqa: B006
    rate: Annotated[
        str | None,
        _option(
            "--rate",
            metavar="N/s",
            help="At most so many events: 100/s, 6000/m. The destination's own max_events_per_second holds too.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be sent, and what left out and why.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Begin it, and do not wait for its end.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Send events of the archive to one destination again."""
    if context.invoked_subcommand is not None:
        return
    if destination is None or start is None:
        missing = "--destination NAME" if destination is None else f"--from PLACE ({PLACE_FORMS})"
        raise CommandError(f"say what is meant: {missing} is missing (see cdpd replay --help)", USAGE)
    now_ms = time.time_ns() // 1_000_000
    request = _Replay(
        destination,
        told_place(start, now_ms),
        told_place(to, now_ms),
        _Selection(source or None, event or None, [_type(name) for name in kind] or None),
        _rate(rate),
    )
    with asking(config, data_dir) as daemon:
        if dry_run:
            from cdpd.cli import replay_dry

            found = replay_dry.dry_run(daemon, destination, request)
            if json:
                print_json(found)
            else:
                sys.stdout.write(replay_dry.text(found))
            return
        job = daemon.call("POST /replay", request, patience=_LONG)
        if detach:
            _show(job, json, f"{goes_on(job['id'])}\n")
            return
        if not json and job["state"] == "queued":
            sys.stderr.write(
                f"cdpd: {job['id']} waits until another replay to {printable(destination)} has ended\n"
            )
        job = watch_job(daemon, job["id"])
    _show(job, json)
    raise typer.Exit(exit_code(job))


@app.command(short_help="List them: what runs, what waits, what has ended.")
def ls(config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """List replays, and retries of parked events: what runs, and what has ended."""
    with asking(config, data_dir) as daemon:
        jobs = daemon.call("GET /jobs")["jobs"]
    if json:
        print_json({"jobs": jobs})
    elif not jobs:
        print("there are none yet")
    else:
        rows = [
            (
                job["id"],
                printable(job["destination"]),
                job["state"],
                _percent(job),
                job["delivered"],
                job["skipped"] + sum(job["filtered"].values()),
                job["parked"],
                job["began"][:19].replace("T", " "),
                printable(_asked(job)),
            )
            for job in jobs
        ]
        header = ("id", "destination", "state", "done", "delivered", "left out", "parked", "began", "what")
        sys.stdout.write(columns(rows, header))


@app.command(short_help="Watch one until its end.")
def watch(
    id: IdArgument, config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False
) -> None:
    """Watch one until its end; Ctrl-C leaves it running."""
    with asking(config, data_dir) as daemon:
        job = watch_job(daemon, id)
    _show(job, json)
    raise typer.Exit(exit_code(job))


@app.command(short_help="End one; `resume` lets it go on.")
def cancel(
    id: IdArgument, config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False
) -> None:
    """End one, after the batches that are in flight; `resume` lets it go on."""
    with asking(config, data_dir) as daemon:
        job = daemon.call("POST /jobs/cancel", JobId(id), patience=_LONG)
    _show(job, json)


@app.command(short_help="Let one go on that was cancelled or failed.")
def resume(
    id: IdArgument, config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False
) -> None:
    """Let one that was cancelled or has failed go on from where it was."""
    with asking(config, data_dir) as daemon:
        job = daemon.call("POST /jobs/resume", JobId(id))
    _show(job, json, f"{goes_on(id)}\n")


def _show(job: dict[str, Any], json: bool, more: str = "") -> None:
    if json:
        print_json(job)
    else:
        sys.stdout.write(summary(job) + (more if job["state"] not in ENDED else ""))


def _type(text: str) -> str:
    if text not in TYPES:
        hint = did_you_mean(text, TYPES) or f"one of {', '.join(TYPES)}"
        raise CommandError(f"--type: there is no call {text!r}; {hint}", USAGE)
    return text


def _rate(text: str | None) -> str | None:
    if text is not None:
        try:
            parse_rate(text)
        except ValueError as error:
            raise CommandError(f"--rate: {error}", USAGE) from None
    return text


def _percent(job: dict[str, Any]) -> str:
    if not job["total"]:
        return "100 %"
    return f"{100 * job['done'] // job['total']} %"


def _asked(job: dict[str, Any]) -> str:
    asked = job["asked"]
    if job["kind"] == "retry":
        which = ", ".join(f"{key} {value}" for key, value in asked["which"].items() if key != "destination")
        return f"parked events{f' with {which}' if which else ''}"
    chosen = [
        f"{name} {', '.join(asked[key])}"
        for key, name in (("sources", "source"), ("types", "type"), ("events", "event"))
        if asked.get(key)
    ]
    rate = [f"at most {job['rate']}"] if job["rate"] else []
    return "; ".join([f"from {asked['from']} to {asked['to']}", *chosen, *rate])
