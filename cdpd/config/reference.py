"""The reference of every setting, generated from the types: `python -m cdpd.config.reference > etc/README.md`."""

from __future__ import annotations

import sys
from typing import Final

from msgspec import Struct

from cdpd.config.alerts import KINDS, AlertConfig
from cdpd.config.describe import options
from cdpd.config.model import (
    DataConfig,
    DeliveryConfig,
    HttpConfig,
    LogConfig,
    LoggingConfig,
    MetricsConfig,
    OAuthAppConfig,
    PipelineConfig,
    ProcessConfig,
    SourceConfig,
    StreamConfig,
    TlsConfig,
)
from cdpd.destinations.contract import BatchLimits, DestinationConfig

_INTRO: Final = """\
# Configuration: every setting

<!-- Generated from the types: python -m cdpd.config.reference > etc/README.md -->

`cdpd.toml` beside this file runs as it is; `cdpd init` writes one with a write key of your own.

**Where it is found**: `--config FILE`, else `./cdpd.toml`, else `/etc/cdpd/cdpd.toml`. The files `conf.d/*.toml`
beside it are merged with it, in the order of their names: tables are joined; any other key may be set in one file
only. With no file at all `cdpd run` is a development daemon: a source `dev` whose write key is made once and kept
in the data folder, and a console destination.

**The data folder**: `--data-dir`, else `[data] dir` (relative to the folder of the configuration), else
`$STATE_DIRECTORY`, else `./cdpd-data`.

**Changes**: `cdpd check` tells every mistake with file, line and column, and warns of risky settings; `cdpd reload`
(or SIGHUP) applies the files to a running daemon, and keeps the old configuration where the new one is wrong.

**In an editor**: `cdpd schema --output cdpd.schema.json` beside the configuration, and `#:schema ./cdpd.schema.json` as
its first line: editors that read TOML schemas (VS Code with Even Better TOML, others with taplo) then complete and
explain its keys and mark mistakes. A table that is spread over several files is judged file by file there.

**Durations** are a number and `ms`, `s`, `m`, `h`, `d` or `w`: `90s`, `12h`, `7d`. **Names** of sources, hooks and
destinations are letters, digits, `_`, `-` and `.`.

**Exit codes** of every command: 0 it worked, 1 it failed or found something wrong, 2 the command line or the
configuration is wrong, 3 no daemon is running or it cannot answer at the moment, 130 stopped by
Ctrl-C.
"""
_PLUGINS: Final = """\
## [hooks.NAME]
Options of a hook that `[pipeline] hooks` lists; `use = "PLUGIN"` where its name is not the plugin's, so that one
plugin can stand in the chain twice. `cdpd plugins show NAME` tells the options.
"""
_CONDITIONS: Final = "Conditions, for `when`. What is counted is counted in slots of 5 minutes."
_SECRETS: Final = """\
## Secrets
Where an option is a secret, its value is one of
| written | the secret is |
| --- | --- |
| `"…"` | this text: then keep the file from others' eyes (`chmod 640`) |
| `{ credential = "name" }` | what systemd's `LoadCredential=` brought under that name |
| `{ file = "path" }` | the content of a file |
| `{ env = "NAME" }` | an environment variable |

A secret is never shown, logged or put into an error message.
"""


def reference() -> str:
    """The whole text, Markdown."""
    parts = [
        _INTRO,
        _section("http", HttpConfig, "The tracking API: where SDKs send their events.", leave_out=("tls",)),
        _section(
            "http.tls",
            TlsConfig,
            "The certificate for addresses that `listen` names as `https://HOST:PORT`, and for sockets that systemd "
            "hands over under a name that begins with `https`. TLS 1.2 and 1.3. `cdpd reload` reads both files again: "
            "new connections get the new certificate, and nothing changes where it is broken.",
        ),
        _section("sources.NAME", SourceConfig, "A website, app or server that sends events."),
        _section(
            "oauth.NAME",
            OAuthAppConfig,
            "An app (client id NAME) that gets tokens at `/token` by OAuth 2.0 client assertions. `oauth` of a source "
            "names the apps that may write to it. Step by step: `cdpd/oauth/README.md`.",
        ),
        _section("pipeline", PipelineConfig, "What happens to events on their way into the archive."),
        _PLUGINS,
        _section(
            "destinations.NAME",
            DestinationConfig,
            "Where events go. Every destination has these options, and those that `cdpd plugins show TYPE` tells. What "
            "it sends, and how to change that (`actions`, `mapping`, `filters`), with examples: "
            "`cdpd/destinations/README.md`.",
        ),
        _section("destinations.NAME.batch", BatchLimits, "How much goes in one request."),
        _section("delivery", DeliveryConfig, "What holds for every destination."),
        _section(
            "process",
            ProcessConfig,
            "How many processes the daemon is. Several are started, watched and stopped by the one that `cdpd run` "
            "is; one that ends is started again while the others go on.",
        ),
        _section(
            "alerts.NAME",
            AlertConfig,
            "What to tell of, once when it begins and once when it is over. Whether it fires also stands in the log, "
            "in `cdpd status` and in the metric `cdpd_alerts_firing`; `cdpd alerts test NAME` tries its channels. "
            "More: `cdpd/alerts/README.md`.",
        )
        + _conditions(),
        _section("data", DataConfig, "Where everything is kept."),
        _section("log", LogConfig, "The streams on disk.", leave_out=("received", "events", "discarded")),
        _section(
            "log.received], [log.events], [log.discarded",
            StreamConfig,
            "How long each stream is kept. A segment that something still needs is kept longer.",
        ),
        _section("logging", LoggingConfig, "What the daemon says of itself."),
        _section(
            "metrics",
            MetricsConfig,
            "For Prometheus; off where neither is set. `etc/METRICS.md` lists them; beside it are a dashboard for "
            "Grafana (`grafana-dashboard.json`) and rules for alerts (`prometheus-alerts.yml`).",
        ),
        _SECRETS,
    ]
    return "\n".join(parts)


def _section(title: str, config: type[Struct], intro: str, leave_out: tuple[str, ...] = ()) -> str:
    lines = [f"## [{title}]", intro, "", "| key | value | default | |", "| --- | --- | --- | --- |"]
    for option in options(config):
        if option.name not in leave_out:
            default = "**needed**" if option.required else f"`{option.default}`" if option.default else ""
            doc = option.doc.replace("|", "\\|")
            lines.append(f"| `{option.name}` | {option.type.replace('|', '&#124;')} | {default} | {doc} |")
    return "\n".join(lines) + "\n"


def _conditions() -> str:
    lines = ["", _CONDITIONS, "", "| condition | of a | over | |", "| --- | --- | --- | --- |"]
    for kind in KINDS.values():
        over = f"`{kind.over}`" if kind.over else ""
        about = kind.about if kind.about != "disk" else "data folder"
        lines.append(f"| `{kind.example}` | {about} | {over} | {kind.doc} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
