"""What a scrape tells of the moment, and who may have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd import metrics as names

from .parts import destination, samples, scrape


async def test_it_tells_of_the_load_the_streams_and_the_disk(tmp_path: Path) -> None:
    folder = tmp_path / "log" / "received"
    folder.mkdir(parents=True)
    (folder / "00000000000000000005.ndjson.zst").write_bytes(b"x" * 100)
    (folder / "mark").write_bytes(b"x" * 20)
    page, _ = scrape(tmp_path)
    found = await samples(page)
    assert found["cdpd_connections", ()] == 3
    assert found["cdpd_in_flight_bytes", ()] == 4096
    assert found["cdpd_in_flight_limit_bytes", ()] == 8192
    assert found["cdpd_log_begin_offset", ("received",)] == 5
    assert found["cdpd_log_end_offset", ("received",)] == 17
    assert found["cdpd_log_bytes", ("received",)] == 120
    assert found["cdpd_log_segments", ("received",)] == 1
    assert ("cdpd_log_bytes", ("events",)) not in found
    assert 0 < found["cdpd_disk_free_bytes", ()] <= found["cdpd_disk_size_bytes", ()]
    assert found["cdpd_ready", ()] == 1
    assert found["process_resident_memory_bytes", ()] > 1_000_000


async def test_a_destination_that_is_away_shows_by_state_lag_and_what_waits(tmp_path: Path) -> None:
    told = {
        "crm": destination(state="retrying", lag_events=40, lag_seconds=90, waiting_to_retry=12, parked=2),
        "off": destination(state="stopped", lag_events=7, lag_seconds=None),
    }
    page, _ = scrape(tmp_path, destinations=told)
    found = await samples(page)
    states = {key[1]: value for key, value in found.items() if key[0] == "cdpd_destination_state"}
    assert [labels for labels, value in states.items() if value] == [("crm", "retrying"), ("off", "stopped")]
    assert found["cdpd_destination_lag_events", ("crm",)] == 40
    assert found["cdpd_destination_lag_seconds", ("crm",)] == 90
    assert found["cdpd_destination_retrying_events", ("crm",)] == 12
    assert found["cdpd_destination_parked_events", ("crm",)] == 2
    assert ("cdpd_destination_lag_seconds", ("off",)) not in found, "how old its events are is not known"
    assert found["cdpd_destination_lag_events", ("off",)] == 7


async def test_a_pipeline_that_stopped_shows_by_state_and_lag(tmp_path: Path) -> None:
    page, _ = scrape(tmp_path, state="stopped", behind=12, behind_seconds=34.5)
    found = await samples(page)
    assert found["cdpd_pipeline_state", ("stopped",)] == 1
    assert found["cdpd_pipeline_state", ("running",)] == 0
    assert found["cdpd_pipeline_lag_events", ()] == 12
    assert found["cdpd_pipeline_lag_seconds", ()] == 34.5


async def test_counters_of_what_is_configured_begin_at_0(tmp_path: Path) -> None:
    page, metrics = scrape(tmp_path, destinations={"crm": destination()})
    metrics.add(names.DELIVERED, "crm", n=5)
    found = await samples(page)
    assert found["cdpd_received_events_total", ("website",)] == 0
    assert found["cdpd_hook_failures_total", ("spec",)] == 0
    assert found["cdpd_parked_events_total", ("crm", "bad_event")] == 0
    assert found["cdpd_delivered_events_total", ("crm",)] == 5


async def test_a_data_folder_that_cannot_be_read_takes_only_the_disk_away(tmp_path: Path) -> None:
    page, _ = scrape(tmp_path / "gone")
    found = await samples(page)
    assert ("cdpd_disk_free_bytes", ()) not in found
    assert found["cdpd_ready", ()] == 1


@pytest.mark.parametrize(
    ("token", "header", "admitted"),
    [
        (None, "", True),
        ("s3cret-token", "", False),
        ("s3cret-token", "Bearer s3cret-token", True),
        ("s3cret-token", "bearer  s3cret-token ", True),
        ("s3cret-token", "Bearer s3cret-toke", False),
        ("s3cret-token", "Basic s3cret-token", False),
        ("s3cret-token", "s3cret-token", False),
        ("s3cret-token", "Bearer \udcff", False),
        ("", "Bearer ", False),
    ],
)
def test_only_who_has_the_token_is_admitted(
    tmp_path: Path, token: str | None, header: str, admitted: bool
) -> None:
    page, _ = scrape(tmp_path, token)
    assert page.admits(header) is admitted
    assert page.has_token is (token is not None)
