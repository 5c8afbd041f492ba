"""All benchmarks: `python -m tests.bench [NAME] [--short] [--json]`.

They start what they need, each server on the first core and what sends on the second where there are two. Figures swing
from run to run: compare the ratios to the bare server of the same round. CDPD_BENCH_DIR names the disk to write to.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

NAMES: Final = {
    "ingest": "how much ingest takes, beside a bare aiohttp server",
    "steady": "how much the whole daemon keeps up with",
    "latency": "how soon an event is delivered, and an answer under a backlog",
    "size": "disk, memory, start",
    "soak": "twenty minutes of load: are memory and descriptors flat",
    "pipeline": "the hook chain alone",
    "delivery": "destinations alone",
    "trace": "looking for one event among a hundred million",
    "mapping": "filters, triggers and mappings alone",
    "roles": "one process or several",
    "isolation": "do dead destinations slow the others",
    "many": "memory of a hundred destinations",
    "outage": "how fast a destination catches up after an outage",
}


def main() -> None:
    asked = [
        word for word in sys.argv[1:] if not word.startswith("-") and not word.replace(".", "").isdigit()
    ]
    unknown = [name for name in asked if name not in NAMES]
    if unknown or "--help" in sys.argv:
        listed = "\n".join(f"  {name:<10}{text}" for name, text in NAMES.items())
        raise SystemExit(f"usage: python -m tests.bench [NAME] [--short] [--json]\n{listed}")
    sys.argv = [sys.argv[0], *(word for word in sys.argv[1:] if word not in asked)]
    for name in asked or ["ingest", "steady", "latency", "size"]:
        if "--json" not in sys.argv:
            print(f"-- {name}", flush=True)
        importlib.import_module(f"tests.bench.{name}").main()


if __name__ == "__main__":
    main()
