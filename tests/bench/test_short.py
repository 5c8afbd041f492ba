"""The benchmarks' short forms run and print figures; nothing is said here about how large these are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import program

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("ingest", {"single: ingest, durable", "batch of 100: ingest, durable"}),
        ("latency", {"accept → delivered, median", "answer p99 at 500/s, idle"}),
        ("isolation", {"5 beside 10 that hang and 5 that fail", "answer p99 at 500/s, beside the dead"}),
        ("many", {"memory of a destination"}),
        ("outage", {"delivered while it catches up", "answer p99 while it catches up"}),
        ("size", {"disk for both streams, 10 events a frame", "anonymous memory"}),
        ("trace", {"index", "an id in the index", "cdpd trace"}),
    ],
)
def test_a_short_form_prints_its_figures(name: str, figures: set[str]) -> None:
    program("wrk")
    command = [sys.executable, "-m", "tests.bench", name, "--short", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr
    found = {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}
    assert figures <= set(found)
    assert all(line["median"] > 0 for line in found.values())
