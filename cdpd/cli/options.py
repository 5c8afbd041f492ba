"""Options that many commands share, and how every typer app of ours is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration. Default: ./cdpd.toml, else /etc/cdpd/cdpd.toml.",
        show_default=False,
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="The data folder. Default: the configuration's, else ./cdpd-data.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a machine to read.")]

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def new_app(help: str | None = None, **options: Any) -> typer.Typer:
    """A typer app with plain help (rich takes long to import) and tracebacks as Python prints them."""
    return typer.Typer(
        help=help,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
        **options,
    )


def examples(*lines: str, more: str = "") -> str:
    """The end of a command's help: example command lines as they are, then a paragraph."""
    shown = "\n".join(f"  {line}" for line in lines)
    return f"\b\nExamples:\n{shown}\n\n{more}"
