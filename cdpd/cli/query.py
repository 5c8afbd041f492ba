"""`cdpd query`: SQL over the archive, with DuckDB."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cdpd.archive.columns import help_lines
from cdpd.archive.database import QueryError, Table, mentioned, open_archive
from cdpd.cli.answer import print_csv, print_objects, print_table
from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.located import peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, examples, new_app
from cdpd.cli.output import plural

app = new_app()


@app.command(
    epilog=examples(
        "cdpd query 'select event, count(*) from events group by 1 order by 2 desc'",
        "cdpd query \"select received_at, user_id, properties->>'$.plan' as plan from events where type = 'track'\"",
        "cdpd query 'select code, message, count(*) from discarded group by all' --json",
        "cdpd query 'describe events'",
        "cdpd query - < report.sql",
        more="Exits 2 where the SQL is wrong, 1 where the archive is damaged.",
    )
    + "\n\nTables and columns:\n\n"
    + "\n\n".join(help_lines())
)
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A query, in quotes; - reads it from a pipe.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a row.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
) -> None:
    """Ask the archive in SQL (DuckDB's): the tables events, received, discarded, sets and objects.

    Sees everything that is on disk, whether the daemon runs or not. Times are UTC; properties, traits and context
    are JSON: properties->>'$.plan' takes a text out. Nothing can be changed with it.
    """
    if json and csv:
        raise CommandError("either --json or --csv, not both", USAGE)
    text = sys.stdin.read() if sql == "-" else sql
    try:
        with open_archive(peek_or_stop(config, data_dir).data_dir, mentioned(text)) as archive:
            _print(archive.ask(text), json, csv)
    except QueryError as error:
        raise CommandError(str(error), USAGE) from None


def _print(table: Table, json: bool, csv: bool) -> None:
    if json:
        print_objects(table.columns, table.types, table.rows)
    elif csv:
        print_csv(table.columns, table.rows)
    else:
        count = print_table(table.columns, table.types, table.rows)
        if sys.stdout.isatty():
            print(f"({plural(count, 'row')})")
