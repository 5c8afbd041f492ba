"""The metrics of a real daemon: what it was sent, refused, delivered; by both ways to have them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import aiohttp
import anyio

from cdpd.metrics import FAMILIES
from tests.running import PATIENCE, RunningDaemon, key_header, running

from .parts import Samples, parsed

TOKEN = "scraper-9c0ffee1dea5"
CONFIG = """
[metrics]
listen = "127.0.0.1:0"
token = "{token}"

[sources.website]
write_keys = ["wk_metrics_website"]

[pipeline]
hooks = ["spec", "dedup", "drop"]

[hooks.drop]
rules = [{{ event = "Noise" }}]

[destinations.copy]
type = "file"
path = "{folder}/copy.ndjson"
"""


async def scraped(url: str) -> Samples:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return parsed(await answer.text())


async def once(daemon: RunningDaemon, name: str, labels: tuple[str, ...], value: float) -> Samples:
    """The samples once this one has come to `value`."""
    with anyio.fail_after(PATIENCE):
        while True:
            found = await scraped(f"{daemon.url}/metrics")
            if found.get((name, labels)) == value:
                return found


async def send(daemon: RunningDaemon, path: str, body: object, key: str = "wk_metrics_website") -> int:
    async with (
        aiohttp.ClientSession() as http,
        http.post(daemon.url + path, data=json.dumps(body), headers=key_header(key)) as answer,
    ):
        return answer.status


async def test_a_daemon_counts_what_becomes_of_events(tmp_path: Path) -> None:
    async with running(tmp_path, CONFIG.format(token=TOKEN, folder=tmp_path)) as daemon:
        events = [{"type": "track", "event": "A", "userId": "u1", "messageId": f"m{i}"} for i in range(5)]
        assert await send(daemon, "/v1/batch", {"batch": [*events, events[0]]}) == 200
        assert await send(daemon, "/v1/track", {"event": "Noise", "userId": "u1"}) == 200
        assert await send(daemon, "/v1/track", {"event": "A"}) == 200
        assert await send(daemon, "/v1/track", {"event": "A"}, key="wrong") == 401
        assert await send(daemon, "/nowhere/stranger", {}) == 404
        await daemon.wait_for("discarded", 3)
        found = await once(daemon, "cdpd_delivered_events_total", ("copy",), 5)

        assert found["cdpd_received_events_total", ("website",)] == 8
        assert found["cdpd_accepted_events_total", ("website",)] == 5
        assert found["cdpd_discarded_events_total", ("website", "dedup", "duplicate")] == 1
        assert found["cdpd_discarded_events_total", ("website", "drop", "dropped")] == 1
        assert found["cdpd_discarded_events_total", ("website", "spec", "no_user_anon_id")] == 1
        assert found["cdpd_duplicate_events_total", ("website", "unannounced")] == 1
        assert found["cdpd_rejected_requests_total", ("unknown_source",)] == 1
        assert found["cdpd_requests_total", ("/v1/track", "200")] == 2
        assert found["cdpd_requests_total", ("other", "404")] == 1
        assert found["cdpd_request_seconds_count", ("/v1/batch",)] == 1
        assert found["cdpd_append_seconds_count", ()] == 3
        assert found["cdpd_log_sync_seconds_count", ("received",)] >= 2
        assert found["cdpd_delivery_seconds_count", ("copy",)] >= 1
        assert found["cdpd_delivered_age_seconds_count", ("copy",)] >= 1
        assert found["cdpd_destination_state", ("copy", "running")] == 1
        assert found["cdpd_pipeline_state", ("running",)] == 1
        assert found["cdpd_pipeline_lag_events", ()] == 0
        assert found["cdpd_hook_seconds_total", ("spec",)] > 0
        assert found["cdpd_log_end_offset", ("received",)] == 8
        known = {family.name for family in FAMILIES.values()}
        bare = {re.sub("_(bucket|count|sum|created)$", "", name) for name, _ in found}
        assert {name for name in bare if name.startswith("cdpd_")} <= known
        assert not any("stranger" in label for _, labels in found for label in labels)


async def test_a_reload_changes_the_token_and_is_counted(tmp_path: Path) -> None:
    config = CONFIG.format(token="another-token-before-it", folder=tmp_path)
    async with running(tmp_path, config) as daemon:
        daemon.config.write_text(config.replace("another-token-before-it", TOKEN))
        await anyio.run_process(daemon.command("reload"))
        found = await scraped(f"{daemon.url}/metrics")
        assert found["cdpd_config_reloads_total", ("applied",)] == 1
        assert found["cdpd_config_last_reload_successful", ()] == 1

        daemon.config.write_text("[nonsense]")
        assert (await anyio.run_process(daemon.command("reload"), check=False)).returncode == 2
        # The listener of its own has the same.
        (own,) = re.findall(r"http://127\.0\.0\.1:\d+/metrics", daemon.log())
        found = await scraped(own)
        assert found["cdpd_config_reloads_total", ("refused",)] == 1
        assert found["cdpd_config_last_reload_successful", ()] == 0
        assert "another-token" not in daemon.log()
        assert TOKEN not in daemon.log()


async def test_another_address_needs_a_restart_and_without_a_token_there_is_nothing_at_metrics(
    tmp_path: Path,
) -> None:
    config = CONFIG.format(token=TOKEN, folder=tmp_path)
    async with running(tmp_path, config) as daemon:
        daemon.config.write_text(
            config.replace(f'token = "{TOKEN}"', "").replace('"127.0.0.1:0"', '"127.0.0.1:1"')
        )
        done = await anyio.run_process(daemon.command("reload", "--json"))
        assert json.loads(done.stdout)["needs_restart"] == ["metrics.listen"]
        async with aiohttp.ClientSession() as http, http.get(f"{daemon.url}/metrics") as answer:
            assert answer.status == 404
            assert (await answer.json())["code"] == "not_found"
