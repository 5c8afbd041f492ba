"""`cdpd snippet`: what to paste into a website or an app so that its events come here."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from cdpd.cli.exits import USAGE, CommandError
from cdpd.cli.located import daemon_url, peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import columns, print_json
from cdpd.cli.sdk import SDKS, Target, lines
from cdpd.config.peek import Peek
from cdpd.config.problem import did_you_mean
from cdpd.terminal import coloured, paint

app = new_app()

_URL: Final = re.compile(r"https?://(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*)|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


@app.command(
    epilog=examples(
        "cdpd snippet website",
        "cdpd snippet website --sdk browser --host https://cdp.example.com > head.html",
        "cdpd snippet --list",
        more="The host is --host, else [http] public_url, else the address that the daemon listens on, which is "
        "good on this machine only. The key is the first of the source's write_keys: put a new one there. "
        "Reads the configuration; no daemon needs to run.",
    )
)
def snippet(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE", help="Whose key to fill in. Default: the only one.", show_default=False
        ),
    ] = None,
    sdks: Annotated[
        list[str],
        typer.Option("--sdk", metavar="NAME", help="This SDK's lines alone. Repeatable. Default: all."),
    ] = [],  # noqa: B006 - typer copies it
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="URL", help="How the SDK reaches the daemon.", show_default=False),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Another of the source's write keys.", show_default=False),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the SDKs, and print no lines.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Print the lines with which each SDK sends to a source, with host and key filled in."""
    if listed:
        _list(json)
        return
    names = [_known(name) for name in sdks] or list(SDKS)
    found = peek_or_stop(config, data_dir)
    name = _source(found, source)
    target = Target(_host(found, host), _key(found, name, key))
    for warning in _warnings(found, name, names, target, given=host is not None):
        sys.stderr.write(f"cdpd: {warning}\n")
    if json:
        shown = {each: lines(each, target) for each in names}
        print_json({"source": name, "host": target.url, "key": target.key, "sdks": shown})
    elif len(sdks) == 1:
        sys.stdout.write(lines(names[0], target))
    else:
        _print_all(names, target)


def _list(json: bool) -> None:
    if json:
        print_json([{"sdk": name, "title": sdk.title} for name, sdk in SDKS.items()])
    else:
        sys.stdout.write(columns([(name, sdk.title) for name, sdk in SDKS.items()]))


def _print_all(names: Sequence[str], target: Target) -> None:
    bold = coloured(sys.stdout)
    parts = []
    for name in names:
        title = f"--- {SDKS[name].title} (--sdk {name})"
        parts.append(f"{paint(title, 'bold', bold)}\n\n{lines(name, target)}")
    sys.stdout.write("\n".join(parts))


def _known(name: str) -> str:
    if name not in SDKS:
        hint = did_you_mean(name, SDKS) or f"one of {', '.join(SDKS)}"
        raise CommandError(f"--sdk: there is no {name!r}; {hint}", USAGE)
    return name


def _source(found: Peek, wanted: str | None) -> str:
    names = ", ".join(found.all_keys)
    if not found.all_keys:
        nothing = (
            f"{found.file} has no source with a write key; add [sources.NAME]"
            if found.file
            else f"there is no configuration, and no daemon's key in {found.data_dir}; "
            "`cdpd init` writes a configuration, `cdpd run` makes a key"
        )
        raise CommandError(nothing, USAGE)
    if wanted is None:
        if len(found.all_keys) > 1:
            raise CommandError(f"say for which source: cdpd snippet SOURCE, one of {names}", USAGE)
        return names
    if wanted not in found.all_keys:
        hint = did_you_mean(wanted, found.all_keys) or f"sources: {names}"
        raise CommandError(f"there is no source {wanted!r}; {hint}", USAGE)
    return wanted


def _key(found: Peek, source: str, wanted: str | None) -> str:
    keys = found.all_keys[source]
    if wanted is None:
        return keys[0]
    if wanted not in keys:
        raise CommandError(f"--key: source {source} has no such write key; it has {', '.join(keys)}", USAGE)
    return wanted


def _host(found: Peek, given: str | None) -> str:
    url = (given or found.public_url or daemon_url(found)).rstrip("/")
    if given is None and found.public_url is None and (not _URL.fullmatch(url) or url.endswith(":0")):
        # A Unix socket, or a port that the system will choose.
        where = f"on {url}, where no SDK can reach it" if url else "nowhere that an SDK can reach"
        raise CommandError(f"the daemon listens {where}: say with --host how they do", USAGE)
    if url.startswith("unix:"):
        raise CommandError(
            f"the daemon listens at {url} only: say how SDKs reach it with --host, or set [http] public_url",
            USAGE,
        )
    if not _URL.fullmatch(url):
        what = "[http] public_url" if given is None else "--host"
        raise CommandError(f"{what}: {url!r} is no address: write https://HOST, without a path", USAGE)
    return url


def _warnings(found: Peek, source: str, names: Sequence[str], target: Target, *, given: bool) -> list[str]:
    said = []
    if not given and found.public_url is None:
        said.append(
            f"{target.url} is good on this machine only; say how SDKs reach it with --host, "
            "or set [http] public_url"
        )
    if source not in found.write_keys:
        said.append(f"source {source} is not enabled: its events are not kept")
    if not found.analytics_js and any(SDKS[name].needs_library for name in names):
        said.append(
            "browser: the daemon does not serve analytics.js yet; set [http] analytics_js to dist/umd of the npm "
            "package @segment/analytics-next"
        )
    tls_only = [name for name in names if SDKS[name].tls_only]
    if tls_only and not target.tls:
        said.append(f"{', '.join(tls_only)}: speaks https whatever it is told, and {target.url} does not")
    return said
