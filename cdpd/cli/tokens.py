"""`cdpd tokens`: the access tokens that apps have got, and ending one."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from msgspec import Struct

from cdpd.cli.located import asking
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import columns, plural, print_json
from cdpd.oauth.token import token_id
from cdpd.terminal import printable

app = new_app("Access tokens that apps ([oauth.NAME]) have got for sending events.", no_args_is_help=True)
_COLUMNS: Final = ("id", "app", "scopes", "issued", "expires", "state")


class _Revocation(Struct):
    ids: list[str]


@app.command(
    epilog=examples(
        "cdpd tokens ls",
        "cdpd tokens ls billing",
        "cdpd tokens ls --json | jq '.tokens[] | select(.state == \"good\")'",
        more="A token is listed until it expires. Its id is no secret: it is the beginning of the token's SHA-256. "
        "Times are UTC. Exits 3 where no daemon is running.",
    )
)
def ls(
    name: Annotated[
        str | None, typer.Argument(metavar="[APP]", help="Only of this app.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """List the tokens that have not expired, oldest first, and which of them are good."""
    with asking(config, data_dir) as daemon:
        tokens = daemon.call("GET /tokens")["tokens"]
    tokens = [token for token in tokens if name in (None, token["app"])]
    if json:
        print_json({"tokens": tokens})
    elif not tokens:
        print("there is no token" if name is None else f"there is no token of the app {name!r}")
    else:
        rows = [
            (
                token["id"],
                printable(token["app"]),
                " ".join(token["scopes"]),
                _moment(token["issued"]),
                _moment(token["expires"]),
                token["state"],
            )
            for token in tokens
        ]
        print(columns(rows, _COLUMNS), end="")


@app.command(
    epilog=examples(
        "cdpd tokens revoke 5f3a9c01d2e4b687",
        more="The token stops working at once, for good; its app gets a new one the next time it sends. To shut an "
        "app out, take it, or its key, out of the configuration and reload.",
    )
)
def revoke(
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID", help="As `cdpd tokens ls` shows them, or tokens themselves."),
    ],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """End tokens before they expire."""
    with asking(config, data_dir) as daemon:
        answer = daemon.call("POST /tokens/revoke", _Revocation([token_id(text) for text in ids]))
    if json:
        print_json(answer)
        return
    revoked, before = answer["revoked"], answer["already_revoked"]
    if revoked:
        print(f"{plural(len(revoked), 'token')} revoked")
    if before:
        print(f"{plural(len(before), 'token')} had been revoked before")


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")
