"""`cdpd schema`: the JSON Schema of cdpd.toml, by which an editor completes, explains and checks it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cdpd import discovery
from cdpd.cli.options import examples, new_app
from cdpd.config.schema import schema as make_schema

app = new_app()


@app.command(
    epilog=examples(
        "cdpd schema --output cdpd.schema.json",
        "cdpd schema | jq .properties.http",
        more="With the first line `#:schema ./cdpd.schema.json` in cdpd.toml, editors that read TOML schemas (VS Code "
        "with Even Better TOML, others with taplo) complete its keys, explain them and mark mistakes. It knows "
        "the plugins that are installed now: make it again after installing one. `cdpd check` knows more: rules "
        "between settings, and files that a configuration needs.",
    )
)
def schema(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there.", show_default=False),
    ] = None,
) -> None:
    """Print the JSON Schema (2020-12) of cdpd.toml, with the options of the installed hooks and destinations."""
    made, unloadable = make_schema(discovery)
    text = msgspec.json.format(msgspec.json.encode(made), indent=2).decode() + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
    for plugin in unloadable:
        sys.stderr.write(
            f"cdpd: the {plugin.kind} {plugin.name!r} of {plugin.distribution} cannot be loaded, so the schema "
            f"takes any options for it: {plugin.reason}\n"
        )
