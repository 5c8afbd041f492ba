"""`cdpd discarded`: ls reads the stream, retry asks the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdpd.control.contract import DiscardedFilter
from tests.stored import AT_MS, discarded, received, store

from .conftest import Cdpd, control_server


class FakeDaemon:
    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[tuple[DiscardedFilter, bool]] = []
        self.failure = failure

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        self.asked.append((which, dry_run))
        if self.failure:
            raise self.failure
        return {"matched": 3, "retried": 0 if dry_run else 2, "skipped": 0 if dry_run else 1}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four lines, a second apart from 12:00:00."""
    folder = tmp_path / "data"
    lines = [
        discarded(10, at="2026-01-31T12:00:00.000Z"),
        discarded(11, at="2026-01-31T12:00:01.000Z", by="geo", code="hook_failed", message="KeyError: 'city'\nmore"),
        discarded(12, at="2026-01-31T12:00:02.000Z", line=received(12, source="app")),
        discarded(13, at="2026-01-31T12:00:03.000Z", by="ingest", code="event_not_object",
                  line=received(13, event="text", reject="event_not_object")),
    ]  # fmt: skip
    store(folder, "discarded", lines)
    return folder


def test_ls_shows_when_by_whom_why_and_what(cdpd: Cdpd, data: Path) -> None:
    ran = cdpd("discarded", "ls", "--data-dir", data)
    assert ran.code == 0
    header, _, *rows = ran.lines
    assert header.split() == ["offset", "at", "source", "by", "code", "call", "name", "who", "message"]
    assert rows[1].split("  ")[-1] == "KeyError: 'city'\\nmore"
    assert [row.split()[0] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0].split()[1:6] == ["2026-01-31", "12:00:00", "website", "spec", "unknown_type"]
    assert rows[3].split()[3:6] == ["website", "ingest", "event_not_object"]


def test_ls_as_json_is_the_stored_line_and_its_offset(cdpd: Cdpd, data: Path) -> None:
    found = cdpd("discarded", "ls", "--json", "--data-dir", data).objects
    assert [line["offset"] for line in found] == [0, 1, 2, 3]
    assert {key: value for key, value in found[0].items() if key != "offset"} == discarded(
        10, at="2026-01-31T12:00:00.000Z"
    )


@pytest.mark.parametrize(
    ("options", "offsets"),
    [
        (("--code", "unknown_type"), [0, 2]),
        (("--by", "geo"), [1]),
        (("--source", "app"), [2]),
        (("--message-id", "m13"), [3]),
        (("--code", "unknown_type", "--source", "website"), [0]),
        (("--from", "2"), [2, 3]),
        (("--from", "1", "--to", "3"), [1, 2]),
        (("--to", "0"), []),
        (("--from", "2026-01-31T12:00:01Z", "--to", "2026-01-31T12:00:03Z"), [1, 2]),
        (("--from", "now"), []),
        (("--from", "10m"), []),
        (("--code", "nothing"), []),
    ],
)
def test_ls_shows_only_what_is_chosen(
    cdpd: Cdpd, data: Path, options: tuple[str, ...], offsets: list[int]
) -> None:
    found = cdpd("discarded", "ls", "--json", *options, "--data-dir", data).objects
    assert [line["offset"] for line in found] == offsets
    if not offsets:
        assert cdpd("discarded", "ls", *options, "--data-dir", data).out.startswith(
            "no event was turned away"
        )


def test_ls_counts_by_code_most_frequent_first(cdpd: Cdpd, data: Path) -> None:
    store(data, "discarded", [discarded(14)])
    ran = cdpd("discarded", "ls", "--count", "--data-dir", data)
    assert [row.split()[:4] for row in ran.lines] == [
        ["count", "by", "code", "source"],
        ["2", "spec", "unknown_type", "website"],
        ["1", "geo", "hook_failed", "website"],
        ["1", "spec", "unknown_type", "app"],
        ["1", "ingest", "event_not_object", "website"],
    ]
    assert ran.lines[2].endswith("KeyError: 'city'")
    counted = cdpd("discarded", "ls", "--count", "--json", "--by", "spec", "--data-dir", data).json
    assert counted == {
        "counts": [
            {"by": "spec", "code": "unknown_type", "source": "website", "count": 2},
            {"by": "spec", "code": "unknown_type", "source": "app", "count": 1},
        ],
        "total": 3,
    }


def test_ls_names_damage_after_what_is_good(cdpd: Cdpd, data: Path) -> None:
    (path,) = (data / "log" / "discarded").glob("*.zst")
    path.write_bytes(path.read_bytes()[:-1])
    ran = cdpd("discarded", "ls", "--json", "--data-dir", data)
    assert ran.code == 1
    assert [line["offset"] for line in ran.objects] == [0, 1, 2]
    assert f"damaged log: {path}" in ran.err


def test_retry_passes_the_choice_on_and_tells_what_was_done(cdpd: Cdpd, data: Path) -> None:
    daemon = FakeDaemon()
    with control_server(data, daemon):
        ran = cdpd("discarded", "retry", "--code", "unknown_type", "--source", "app", "--data-dir", data)
        assert (ran.code, ran.out) == (0, "2 events sent again; 1 left out\n")
        ran = cdpd(
            "discarded", "retry", "--from", "2026-01-31T12:00:00Z", "--to", "3", "--json", "--data-dir", data
        )
        assert ran.json == {"matched": 3, "retried": 2, "skipped": 1}
        ran = cdpd("discarded", "retry", "--all", "--dry-run", "--data-dir", data)
        assert ran.out == "3 events would be sent again\n"
    assert daemon.asked == [
        (DiscardedFilter(code="unknown_type", source="app"), False),
        (DiscardedFilter(from_ms=AT_MS, to_offset=3), False),
        (DiscardedFilter(), True),
    ]


def test_retry_of_everything_has_to_be_said(cdpd: Cdpd, data: Path) -> None:
    ran = cdpd("discarded", "retry", "--data-dir", data)
    assert ran.code == 2
    assert "--all for everything" in ran.err
    ran = cdpd("discarded", "retry", "--all", "--code", "x", "--data-dir", data)
    assert (ran.code, ran.err) == (2, "cdpd: either --all or options that choose, not both\n")


def test_retry_without_a_daemon_exits_3(cdpd: Cdpd, data: Path) -> None:
    ran = cdpd("discarded", "retry", "--all", "--data-dir", data)
    assert ran.code == 3
    assert ran.err == (
        f"cdpd: no daemon is running on {data}; start one with `cdpd run`, or name its folder with --data-dir\n"
    )


def test_retry_that_the_daemon_cannot_do_exits_1(cdpd: Cdpd, data: Path) -> None:
    with control_server(data, FakeDaemon(OSError("no space left"))):
        ran = cdpd("discarded", "retry", "--all", "--data-dir", data)
    assert ran.code == 1
    assert "no space left" in ran.err
