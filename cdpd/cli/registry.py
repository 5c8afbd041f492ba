"""The commands: name, module and summary, known without importing any of them."""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Entry(Struct, frozen=True):
    """A built-in command: `cdpd.cli.MODULE` holds its typer app as `app`."""

    module: str
    summary: str


GROUPS: Final[dict[str, dict[str, Entry]]] = {
    "Get started": {
        "run": Entry("run", "Start the daemon; without a configuration, one to try things with"),
        "init": Entry("init", "Write a configuration to start from"),
        "check": Entry("check", "Check the configuration, and say where it is wrong or risky"),
        "diff": Entry("diff", "Try another configuration on stored traffic: what would it change?"),
        "filter": Entry("filter", "Try a filter or a trigger (FQL) on events"),
        "map": Entry("map", "Try a mapping on events"),
        "schema": Entry("schema", "Print the JSON Schema of cdpd.toml, for your editor"),
        "snippet": Entry("snippet", "Print what to paste into a website or an app, for each SDK"),
        "send": Entry("send", "Send events to a daemon: from a file, a pipe or options"),
        "import": Entry("import_", "Bring in archives: of Segment, RudderStack or cdpd, or CSV"),
    },
    "See what is there": {
        "tail": Entry("tail", "Watch events as they arrive"),
        "query": Entry("query", "Ask the archive of events in SQL"),
        "trace": Entry("trace", "Tell the whole story of one event: every hook, every destination"),
        "log": Entry("log", "The stored streams as they are: cat, ls, verify, repair"),
        "discarded": Entry("discarded", "Events that were turned away, and why: ls, retry"),
        "parked": Entry("parked", "Events that a destination refused: ls, show, retry, drop"),
    },
    "Operate a running daemon": {
        "status": Entry("status", "Show what runs, and how far each part is"),
        "sources": Entry("sources", "List sources, and when each of their write keys was last used"),
        "reload": Entry("reload", "Apply a changed configuration without a restart"),
        "tokens": Entry("tokens", "Access tokens that apps have got (OAuth): ls, revoke"),
        "destinations": Entry("destinations", "Destinations: ls; go on from another place: reset; forget"),
        "pause": Entry("pause", "Let destinations rest; their events wait in the log"),
        "resume": Entry("resume", "Let them go on, each where it was"),
        "replay": Entry("replay", "Send events of the archive to a destination again: ls, watch, cancel"),
        "alerts": Entry("alerts", "How the configuration's alerts stand: ls; try their channels: test"),
        "backup": Entry("backup", "Copy the data folder, while the daemon runs"),
    },
    "Extend it": {
        "destination": Entry("destination", "Try a destination: its connection, an event, cases"),
        "function": Entry("function", "Try a function of yours on events: test; see what failed: logs"),
        "new": Entry("new", "Write a package with a hook or a destination of your own"),
        "plugins": Entry("plugins", "List hooks, destinations and commands, and their options"),
    },
    "About this installation": {
        "doctor": Entry("doctor", "Look at everything that a daemon needs, and say what to do"),
        "version": Entry("version", "Show the version"),
    },
}

BUILT_IN: Final = {name: entry for group in GROUPS.values() for name, entry in group.items()}
