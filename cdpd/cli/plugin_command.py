"""Commands of other packages: entry-point group `cdpd.commands`, name → a typer app, or a function for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdpd.cli.exits import CommandError
from cdpd.cli.registry import BUILT_IN
from cdpd.discovery import Found, commands


def plugin_commands() -> Mapping[str, Found]:
    """Those installed; a name of ours stays ours."""
    return {name: found for name, found in commands().items() if name not in BUILT_IN}


def plugin_app(name: str, found: Found) -> Any:
    """Its typer app. Raises CommandError where its package cannot be loaded."""
    import typer

    from cdpd.cli.options import new_app

    try:
        loaded = found.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise CommandError(
            f"the command {name!r} of {found.distribution} cannot be loaded: {reason}"
        ) from error
    if isinstance(loaded, typer.Typer):
        return loaded
    app = new_app()
    app.command(name)(loaded)
    return app
