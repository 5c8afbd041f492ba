"""`cdpd plugins`: what is installed, from which package, with which options, and what cannot be loaded."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from msgspec import Struct

from cdpd import discovery
from cdpd.cli.exits import FAILED, CommandError
from cdpd.cli.options import JsonOption, examples, new_app
from cdpd.cli.output import columns, print_json
from cdpd.cli.plugin_reference import (
    actions_explained,
    connection,
    explained,
    markdown_actions,
    markdown_options,
)
from cdpd.config.describe import Option, first_line, options
from cdpd.config.problem import did_you_mean
from cdpd.destinations.actions.describe import ActionsDoc, actions_doc
from cdpd.destinations.actions.destination import ActionDestination
from cdpd.destinations.contract import DestinationConfig
from cdpd.terminal import coloured, paint

app = new_app(
    "List the installed hooks, destinations and commands, and the packages that they are from.\n\n"
    "A hook does nothing until `[pipeline] hooks` lists it; a destination until a `[destinations.NAME]` has its type.",
    invoke_without_command=True,
    epilog=examples(
        "cdpd plugins", "cdpd plugins show webhook", more="Exits 1 where a plugin cannot be loaded."
    ),
)


class Plugin(Struct, frozen=True, omit_defaults=True):
    """An installed plugin, looked into."""

    name: str
    kind: str
    """hook, destination or command"""
    distribution: str
    version: str
    doc: str = ""
    options: list[Option] = []
    actions: ActionsDoc | None = None
    """Of a destination made of actions."""
    check: bool | None = None
    """Of a destination: whether `cdpd destination check` can test its connection."""
    error: str = ""


@app.callback()
def plugins(context: typer.Context, json: JsonOption = False) -> None:
    """The list, unless a command follows."""
    if context.invoked_subcommand is not None:
        return
    found = _installed()
    if json:
        print_json({"plugins": found})
    else:
        _print_list(found)
    if any(plugin.error for plugin in found):
        raise typer.Exit(FAILED)


@app.command(epilog=examples("cdpd plugins show dedup", "cdpd plugins show webhook --markdown"))
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name in `cdpd plugins`.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page in Markdown.")] = False,
    json: JsonOption = False,
) -> None:
    """Show a plugin's options (type, default, what each is for), and what a destination can do."""
    found = _installed()
    shown = [plugin for plugin in found if plugin.name == name]
    if not shown:
        hint = did_you_mean(name, {plugin.name for plugin in found}) or "`cdpd plugins` lists them"
        raise CommandError(f"no plugin {name!r} is installed; {hint}")
    if json:
        print_json({"plugins": shown})
    else:
        render = _markdown if markdown else _shown
        print("\n\n".join(render(plugin) for plugin in shown))
    if any(plugin.error for plugin in shown):
        raise typer.Exit(FAILED)


def _installed() -> list[Plugin]:
    kinds = {
        "hook": discovery.hooks(),
        "destination": discovery.destinations(),
        "command": discovery.commands(),
    }
    return [_looked_into(kind, found) for kind, group in kinds.items() for _, found in sorted(group.items())]


def _looked_into(kind: str, found: discovery.Found) -> Plugin:
    try:
        loaded = found.load()
        own: list[Option] = [] if kind == "command" else options(loaded.Config)
    except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything; that is what is shown
        reason = f"{type(error).__name__}: {error}"
        return Plugin(found.name, kind, found.distribution, found.version, error=reason)
    if kind != "destination":
        return Plugin(found.name, kind, found.distribution, found.version, _doc(loaded), own)
    actions = actions_doc(loaded) if issubclass(loaded, ActionDestination) else None
    check = loaded.can_check()
    return Plugin(found.name, kind, found.distribution, found.version, _doc(loaded), own, actions, check)


def _doc(loaded: Any) -> str:
    own = loaded.__dict__.get("__doc__") if isinstance(loaded, type) else getattr(loaded, "__doc__", "")
    module = sys.modules.get(getattr(loaded, "__module__", ""))
    return first_line(own or (module.__doc__ if module else ""))


def _print_list(found: list[Plugin]) -> None:
    bold, red = coloured(sys.stdout), coloured(sys.stdout)
    for kind in ("hook", "destination", "command"):
        of_kind = [plugin for plugin in found if plugin.kind == kind]
        if not of_kind:
            continue
        print(paint(f"{kind.capitalize()}s", "bold", bold))
        rows = [(p.name, f"{p.distribution} {p.version}", p.doc if not p.error else "") for p in of_kind]
        sys.stdout.write(columns(rows, indent="  "))
        for plugin in of_kind:
            if plugin.error:
                print(paint(f"  {plugin.name} cannot be loaded: {plugin.error}", "red", red))
        print()
    print("cdpd plugins show NAME tells a plugin's options.")


def _shown(plugin: Plugin) -> str:
    lines = [f"{plugin.name}: a {plugin.kind} of {plugin.distribution} {plugin.version}"]
    if plugin.error:
        return "\n".join([*lines, f"cannot be loaded: {plugin.error}"])
    if plugin.doc:
        lines.append(plugin.doc)
    if plugin.kind == "command":
        return "\n".join([*lines, "", f"cdpd {plugin.name} --help tells more."])
    common = set()
    if plugin.kind == "destination":
        common = {option.name for option in options(DestinationConfig)}
    lines += ["", f"[{plugin.kind}s.{plugin.name}]"]
    own = [option for option in plugin.options if option.name not in common]
    lines += explained(own) or ["It has no options of its own."]
    if common:
        lines += ["", "Options of every destination:"]
        lines += explained(option for option in plugin.options if option.name in common)
        lines += ["", connection(plugin.check, plugin.name)]
    if plugin.actions is not None:
        lines += actions_explained(plugin.actions)
    return "\n".join(lines)


def _markdown(plugin: Plugin) -> str:
    """The reference of a plugin, as a page."""
    lines = [
        f"# {plugin.name}",
        "",
        plugin.doc,
        "",
        f"A {plugin.kind} of `{plugin.distribution}` {plugin.version}.",
    ]
    if plugin.error:
        return "\n".join([*lines, "", f"It cannot be loaded: {plugin.error}"])
    lines += ["", "## Options", "", "| option | type | | |", "| --- | --- | --- | --- |"]
    lines += markdown_options(plugin.options)
    if plugin.check is not None:
        lines += ["", connection(plugin.check, plugin.name)]
    if plugin.actions is not None:
        lines += markdown_actions(plugin.actions)
    return "\n".join(lines)
