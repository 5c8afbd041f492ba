"""The list of every metric, generated from the one place that names them: `python -m cdpd.scrape.reference`."""

from __future__ import annotations

import sys
from typing import Final

from cdpd.metrics import FAMILIES, Family

_INTRO: Final = """\
# Metrics

<!-- Generated: python -m cdpd.scrape.reference > etc/METRICS.md -->

For Prometheus, at `/metrics`. Switched on by `[metrics]` in `cdpd.toml`, in one of two ways or both:

```toml
[metrics]
listen = "127.0.0.1:9187"                  # a listener for /metrics alone
token = { credential = "metrics-token" }   # at the tracking API too: Authorization: Bearer TOKEN
```

```yaml
# prometheus.yml
scrape_configs:
  - job_name: cdpd
    static_configs: [{ targets: ["127.0.0.1:9187"] }]
    # authorization: { credentials_file: /etc/prometheus/cdpd-token }   # where a token is set
rule_files: [prometheus-alerts.yml]
```

Beside this file: `prometheus-alerts.yml`, rules to start from, and `grafana-dashboard.json`, to be imported into
Grafana. Counters begin at 0 with each start of the daemon; nothing about single events or people is in here, and
label values are names of the configuration, routes, states and codes. Codes of plugins are cut to 64 characters,
and beyond 100 of one plugin there stands `other`.

Events in a group: `rate(cdpd_append_seconds_count) / rate(cdpd_log_sync_seconds_count{stream="received"})` requests
went out with one sync. The share of the loop that a hook takes: `rate(cdpd_hook_seconds_total)`.
"""
_PROCESS: Final = """\
Besides, `process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_open_fds`, `process_max_fds`,
`process_cpu_seconds_total` and `process_start_time_seconds`, as every program has them; with
`[process] roles` they are of the process that starts and watches the others (at `[metrics] listen`), or of ingest.
"""


def reference() -> str:
    """The whole text, Markdown."""
    rows = ["| metric | type | labels | |", "| --- | --- | --- | --- |", *map(_row, FAMILIES.values())]
    return "\n".join([_INTRO, *rows, "", _PROCESS])


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.kind} | {labels} | {family.help.replace('|', '&#124;')} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
