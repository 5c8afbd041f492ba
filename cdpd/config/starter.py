"""The configuration that `cdpd init` writes: runs as it is, and shows what else there is."""

from __future__ import annotations

from typing import Final

_TEMPLATE: Final = """\
# Configuration of cdpd. `cdpd check` says whether it is right; `cdpd reload` applies changes to a running daemon.
# More files may lie beside it in conf.d/*.toml; they are merged with this one.

[http]
# Where SDKs send their events. Behind a proxy that speaks TLS, name the proxy in trusted_proxies.
listen = "127.0.0.1:8080"
# public_url = "https://cdp.example.com"
# trusted_proxies = ["127.0.0.1"]

# [data]
# dir = "/var/lib/cdpd"          # default: $STATE_DIRECTORY, else ./cdpd-data

# A source is a website, app or server that sends events; its write key says which one an event is from.
# In a website's source everybody can read the key: it allows sending, nothing else.
[sources.website]
write_keys = ["{write_key}"]

# A destination gets the events. `cdpd plugins` lists what is installed, `cdpd plugins show file` its options.
[destinations.console]           # prints each event where the daemon runs

# [destinations.signups]
# type = "file"
# path = "signups.ndjson"
# sources = ["website"]          # default: all

# What happens to events on their way, in this order. These three are the default.
# [pipeline]
# hooks = ["spec", "dedup", "ip"]

# How long each stream is kept.
# [log.received]                 # as they came in, for replay
# keep = "7d"
# [log.discarded]                # turned away by a hook, with the reason
# keep = "30d"
# [log.events]                   # the archive
# keep = "forever"

# Metrics for Prometheus, at /metrics there; for Grafana and alerts see etc/ in cdpd's sources.
# [metrics]
# listen = "127.0.0.1:9187"

# What to be told of, once when it begins and once when it is over.
# [alerts.failing]
# when = "failing"               # a destination does not deliver; etc/README.md has all conditions
# for = "10m"
# webhook = "https://hooks.example.com/…"
"""


SAMPLE_KEY: Final = "wk_dev_website"
"""The write key of etc/cdpd.toml, which everybody knows: `cdpd check` warns of it."""


def starter(write_key: str) -> str:
    """The text, with this write key."""
    return _TEMPLATE.format(write_key=write_key)
