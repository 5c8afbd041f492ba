"""`cdpd accounts FILE`: counts the accounts in a file."""

from __future__ import annotations

import csv
from pathlib import Path

import typer

app = typer.Typer(add_completion=False)


@app.command()
def accounts(file: Path) -> None:
    """Count the accounts in a CSV file."""
    with file.open(newline="") as opened:
        print(len({row["account"] for row in csv.DictReader(opened)}))
