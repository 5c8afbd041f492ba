"""`cdpd check`: is the configuration right? Every mistake with its place, and what is risky."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cdpd.cli.exits import FAILED, USAGE
from cdpd.cli.options import ConfigOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.config.load import LoadedConfig, load
from cdpd.config.problem import ConfigError, Problem
from cdpd.terminal import coloured, paint

app = new_app()


@app.command(
    epilog=examples(
        "cdpd check",
        "cdpd check --config /etc/cdpd/cdpd.toml --strict",
        more="Exits 0 where the configuration can be used, 2 where it is wrong, 1 with --strict and warnings. "
        "Needs no network and no running daemon.",
    )
)
def check(
    config: ConfigOption = None,
    json: JsonOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 where there are warnings.")] = False,
) -> None:
    """Check the configuration: each mistake with file, line and column; warnings for risky settings."""
    try:
        loaded = load(config)
        errors: list[Problem] = []
    except ConfigError as error:
        loaded, errors = None, error.problems
    warnings = loaded.warnings if loaded else []
    if json:
        files = loaded.files if loaded else []
        print_json(
            {"ok": not errors, "files": [str(f) for f in files], "errors": errors, "warnings": warnings}
        )
    else:
        _print_problems(errors, "error", "red")
        _print_problems(warnings, "warning", "yellow")
        print(_summary(loaded, warnings) if loaded else f"{plural(len(errors), 'error')} found")
    if errors:
        raise typer.Exit(USAGE)
    if strict and warnings:
        raise typer.Exit(FAILED)


def _print_problems(problems: list[Problem], kind: str, colour: str) -> None:
    for problem in problems:
        place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part)
        rest = str(problem).removeprefix(f"{place}: ")
        said = paint(kind, colour, coloured(sys.stdout))
        print(f"{place}: {said}: {rest}" if place else f"{said}: {rest}")


def _summary(loaded: LoadedConfig, warnings: list[Problem]) -> str:
    config = loaded.config
    files = ", ".join(str(Path(file)) for file in loaded.files)
    what = [
        plural(len(config.sources), "source"),
        f"hooks {' → '.join(config.pipeline.hooks) or 'none'}",
        plural(len(config.destinations), "destination"),
    ]
    return (
        f"{files}: OK{', with ' + plural(len(warnings), 'warning') if warnings else ''} ({'; '.join(what)})"
    )
