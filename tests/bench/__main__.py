"""All benchmarks: `python -m tests.bench [NAME]`; names: daemon, delivery, ingest, pipeline."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main() -> None:
    asked = sys.argv[1:2] or NAMES
    if asked[0] not in NAMES:
        raise SystemExit(f"there is no benchmark {asked[0]!r}: {', '.join(NAMES)}")
    sys.argv = [sys.argv[0], *sys.argv[2:]]
    for name in asked:
        print(f"-- {name}", flush=True)
        importlib.import_module(f"tests.bench.{name}").main()


if __name__ == "__main__":
    main()
