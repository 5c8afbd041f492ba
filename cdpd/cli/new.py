"""`cdpd new`: a package with a hook or a destination of your own, whose tests pass as it is."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated

import typer

from cdpd import discovery
from cdpd.called import program, python
from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.options import examples, new_app
from cdpd.cli.scaffold import Kind, contents, names_for, write_package

app = new_app(
    "Write a package with a hook or a destination of your own: code, tests that pass, and a README.",
    no_args_is_help=True,
    epilog=examples("cdpd new hook loyalty", "cdpd new destination my-crm --dir ~/src/cdpd-my-crm"),
)
NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="What it is called, like my-crm; the package is then cdpd-my-crm.",
        show_default=False,
    ),
]
DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir", metavar="DIR", help="The folder to make. Default: ./cdpd-NAME.", show_default=False
    ),
]


@app.command(epilog=examples("cdpd new hook loyalty", more="An existing folder is never overwritten."))
def hook(name: NameArgument, directory: DirOption = None) -> None:
    """Write a hook: it checks, changes or discards events."""
    _make("hook", name, directory)


@app.command(epilog=examples("cdpd new destination my-crm", more="An existing folder is never overwritten."))
def destination(name: NameArgument, directory: DirOption = None) -> None:
    """Write a destination: it sends events elsewhere."""
    _make("destination", name, directory)


def _make(kind: Kind, text: str, directory: Path | None) -> None:
    try:
        names = names_for(kind, text)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None
    installed = discovery.hooks() if kind == "hook" else discovery.destinations()
    if names.name in installed:
        package = installed[names.name].distribution
        raise CommandError(
            f"there is a {kind} {names.name!r} already, of {package}: choose another name", USAGE
        )
    folder = directory or Path(names.distribution)
    try:
        write_package(folder, contents(kind, names))
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise CommandError(f"{folder} exists already; move it away, or name another with --dir") from None
        raise CommandError(f"cannot write {folder}: {(error.strerror or str(error)).lower()}") from None
    print(f"wrote {folder}: the {kind} {names.name!r}, in {names.package}/__init__.py")
    print(f"next: {python()} -m pip install -e '{folder}[test]'")
    print(f"      {python()} -m pytest {folder}")
    print(f"      {program()} plugins show {names.name}")
