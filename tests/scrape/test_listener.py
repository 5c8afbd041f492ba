"""The listener of its own for /metrics."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from cdpd.ingest.sockets import ListenError
from cdpd.scrape.listener import serve_metrics

from .parts import scrape


async def test_it_serves_the_metrics_and_nothing_else(tmp_path: Path) -> None:
    page, _ = scrape(tmp_path)
    async with serve_metrics(page, "127.0.0.1:0") as bound, aiohttp.ClientSession() as http:
        assert bound is not None
        async with http.get(f"{bound.url}/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert "cdpd_ready 1.0" in await answer.text()
        async with http.head(f"{bound.url}/metrics") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        for path in ("/", "/v1/track", "/metrics/more"):
            async with http.post(bound.url + path) as answer:
                assert (answer.status, await answer.text()) == (404, "there is only /metrics here\n")


async def test_with_a_token_it_asks_for_it_too(tmp_path: Path) -> None:
    page, _ = scrape(tmp_path, "s3cret-token-of-the-scraper")
    async with serve_metrics(page, "127.0.0.1:0") as bound, aiohttp.ClientSession() as http:
        assert bound is not None
        async with http.get(f"{bound.url}/metrics") as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert "s3cret" not in await answer.text()
        headers = {"Authorization": "Bearer s3cret-token-of-the-scraper"}
        async with http.get(f"{bound.url}/metrics", headers=headers) as answer:
            assert answer.status == 200


async def test_it_can_be_a_unix_socket_that_is_gone_afterwards(tmp_path: Path) -> None:
    page, _ = scrape(tmp_path)
    path = tmp_path / "metrics.sock"
    async with (
        serve_metrics(page, f"unix:{path}"),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as http,
        http.get("http://cdpd/metrics") as answer,
    ):
        assert answer.status == 200
    assert not path.exists()


async def test_without_an_address_nothing_is_served(tmp_path: Path) -> None:
    page, _ = scrape(tmp_path)
    async with serve_metrics(page, None) as bound:
        assert bound is None


async def test_an_address_that_is_taken_names_the_setting(tmp_path: Path) -> None:
    page, _ = scrape(tmp_path)
    async with serve_metrics(page, "127.0.0.1:0") as bound:
        with pytest.raises(ListenError, match=r"in use.*choose one in \[metrics\] listen"):
            async with serve_metrics(page, str(bound)):
                pass
