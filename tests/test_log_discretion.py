"""The log never holds what events hold, nor write keys, tokens or secrets: searched for, at level debug.

A daemon is sent good, bad and hostile things, and delivers to receivers that fail in every way and quote what they
were sent; hooks and destinations of strangers raise exceptions with events in their texts.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import anyio
import pytest
from aiohttp import web

from tests.oauth.keys import claims, form, private_pem, public_pem, signed
from tests.running import PATIENCE, RunningDaemon, key_header, running
from tests.until import until

MARK: Final = "jane.roe-7f3a"
"""Stands in every event, body, query, header and answer: wherever it is seen, it came out of content."""
KEY: Final = "wk_website_c0ffee5a1ad"
OLD_KEY: Final = "wk_never_configured_51ab"
GUARDED_KEY: Final = "wk_guarded_0b57ac1e"
SECRETS: Final = {
    "header": "hdr-secret-5e1f",
    "signing": "sgn-secret-77aa",
    "url": "url-secret-91c2",
    "metrics": "scrape-secret-3b9d",
}
CONFIG: Final = """
[logging]
level = "debug"

[metrics]
token = "{metrics}"

[http]
public_url = "https://cdp.example.com"

[oauth.billing]
keys = [{{ kid = "k1", file = "public.pem" }}]

[sources.website]
write_keys = ["{key}"]

[sources.off]
write_keys = ["wk_disabled_77d0e1"]
enabled = false

[sources.guarded]
write_keys = ["{guarded}"]
oauth = ["billing"]
allowed_origins = ["https://shop.example.com"]

[pipeline]
hooks = ["spec", "dedup", "loud"]
slow_hook_ms = 0.000001

{destinations}
[destinations.stranger]
type = "loud"

[destinations.nobody]
type = "webhook"
url = "http://user:{url}@127.0.0.1:1/{url}?token={url}"
"""
WEBHOOK: Final = """
[destinations.answers_{status}]
type = "webhook"
url = "{base}/{status}?token={url}"
headers = {{ Authorization = "Bearer {header}" }}
shared_secret = "{signing}"
mode = "{mode}"
"""
PLUGIN: Final = '''
"""A hook and a destination that fail with events in the texts of their exceptions."""

from msgspec import Struct

from cdpd.destinations.contract import Destination, DestinationConfig
from cdpd.hookspecs import hookimpl
from cdpd.plugins import Plugin


class LoudHook(Plugin):
    """Raises for some events, before and after they are stored."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True):
        pass

    @hookimpl
    def cdpd_enrich(self, event):
        if event.event == "Loud":
            raise ValueError(f"cannot stand {event.properties['who']}")

    @hookimpl
    def cdpd_committed(self, events, position):
        raise KeyError(events[0].properties["who"])


class LoudDestination(Destination):
    """Raises."""

    name = "Loud"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        pass

    async def deliver(self, batch):
        raise RuntimeError(f"I was given {batch.events[0].properties['who']}")
'''
STATUSES: Final = (302, 400, 401, 404, 413, 422, 429, 500, 503)


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of somebody else's, installed for the daemon's process."""
    site = tmp_path / "site"
    info = site / "cdpd_loud-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "loud.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cdpd-loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[cdpd.hooks]\nloud = loud:LoudHook\n[cdpd.destinations]\nloud = loud:LoudDestination\n"
    )
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


async def quoting(request: web.Request) -> web.Response:
    """Answers with the status in its path, and with all that it was sent."""
    status = int(request.match_info["status"])
    body = (await request.read()).decode(errors="replace")
    said = f"{MARK} {request.headers.get('Authorization')} {request.query_string} {body}"
    headers = {"X-Reason": MARK, "Location": f"/elsewhere/{MARK}"}
    return web.Response(status=status, text=said, reason=MARK, headers=headers)


def configuration(base: str) -> str:
    destinations = "".join(
        WEBHOOK.format(status=status, base=base, mode="batch" if status % 2 else "single", **SECRETS)
        for status in STATUSES
    )
    return CONFIG.format(key=KEY, guarded=GUARDED_KEY, destinations=destinations, **SECRETS)


class Sender:
    """Sends all sorts of things; what the answers are is other tests' business."""

    def __init__(self, daemon: RunningDaemon, http: aiohttp.ClientSession) -> None:
        self._daemon = daemon
        self._http = http

    async def ask(self, method: str, path: str, data: bytes | None = None, **headers: str) -> int:
        url = self._daemon.url + path
        async with self._http.request(
            method, url, data=data, headers=headers, allow_redirects=False
        ) as answer:
            await answer.read()
            return answer.status

    async def post(self, path: str, body: Any, key: str = KEY, **headers: str) -> int:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", path, data, **key_header(key), **headers)

    async def raw(self, data: bytes) -> None:
        host, _, port = self._daemon.url.rpartition("/")[2].partition(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(data)
            with anyio.move_on_after(2):
                async for _ in stream:
                    pass


def event(name: str = "Bought", **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": MARK, "properties": {"who": MARK}, **more}


async def good(send: Sender) -> None:
    assert await send.post("/v1/track", event()) == 200
    assert await send.post("/v1/batch", {"batch": [event(), event("Loud"), event(), event("Loud")]}) == 200
    assert await send.post("/v1/track", event(messageId=MARK)) == 200
    assert await send.post("/v1/track", event(messageId=MARK)) == 200
    assert await send.post("/v1/track", event(writeKey="wk_other_in_body_88"), **{"User-Agent": MARK}) == 200
    assert await send.post("/v1/track", event(), key="wk_disabled_77d0e1") == 200
    pixel = base64.b64encode(json.dumps({**event(), "writeKey": KEY}).encode()).decode()
    assert await send.ask("GET", f"/v1/pixel/track?data={quote(pixel)}") == 200


async def bad(send: Sender) -> None:
    for body in (
        b'{"event": "' + MARK.encode(),
        b'{"event": ' + MARK.encode() + b"}",
        MARK.encode(),
        b"\xff" + MARK.encode(),
        b"[" * 1000 + MARK.encode(),
        {"batch": MARK},
        {"batch": [MARK, 7, None, event(timestamp=MARK), event(messageId=MARK * 100)]},
        {"userId": {"of": MARK}, "event": MARK, "properties": MARK, "context": MARK},
        {"type": MARK},
        event(properties={"long": MARK * 5000}),
    ):
        await send.post("/v1/track", body)
        await send.post("/v1/batch", body)
    await send.post("/v1/batch", {"batch": [event()] * 3}, **{"Content-Encoding": "gzip"})
    await send.post("/v1/track", event(), key=OLD_KEY)
    await send.post("/v1/track", event(writeKey=OLD_KEY), key="")
    await send.ask("GET", f"/v1/pixel/track?data={MARK}")
    await send.ask("GET", f"/v1/pixel/track?writeKey={OLD_KEY}&event={MARK}")
    for path in (f"/v1/projects/{OLD_KEY}/settings", f"/v1/projects/{KEY}/settings", f"/{MARK}/{OLD_KEY}"):
        await send.ask("GET", path)
    await send.ask("GET", f"/sourceConfig?writeKey={OLD_KEY}")
    await send.ask("GET", "/metrics", Authorization=f"Bearer {SECRETS['metrics']}")
    await send.ask("GET", "/metrics", Authorization=f"Bearer {MARK}")
    await send.post("/v1/track", event(), key=GUARDED_KEY, Origin=f"https://{MARK}.example.com")


async def hostile(send: Sender) -> None:
    for data in (
        f"GET /{MARK} HTTP/9.9\r\n\r\n",
        f"{MARK} / HTTP/1.1\r\nHost: x\r\n\r\n",
        f"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz{MARK}\r\n",
        f"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6{MARK}\r\n\r\n{MARK}",
        f"POST /-/loud/{MARK} HTTP/1.1\r\nHost: x\r\nX: {MARK}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        f"GET / HTTP/1.1\r\n{MARK}\r\n\r\n",
        f"POST /v1/track?writeKey={OLD_KEY} HTTP/1.0\r\nContent-Length: 99\r\n\r\n{MARK}",
    ):
        await send.raw(data.encode())


async def tokens(send: Sender) -> list[str]:
    """Ask for tokens, rightly and wrongly; everything that is secret about it."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    right = signed(claims(time.time(), aud="https://cdp.example.com"))
    url = f"{send._daemon.url}/token"
    async with send._http.post(url, data=form(right), headers=kind) as answer:
        document = await answer.json()
        assert answer.status == 200, document
    token = str(document["access_token"])
    wrong = [
        right,
        signed(claims(time.time(), aud=f"https://{MARK}.example.com")),
        signed(claims(time.time() - 9000, aud="https://cdp.example.com")),
        signed(claims(time.time(), iss=MARK, sub=MARK)),
        right[:-20] + "AAAA" + right[-16:],
        MARK,
    ]
    for assertion in wrong:
        await send.ask("POST", "/token", form(assertion), **kind)
    await send.ask("POST", "/token", f"grant_type={MARK}".encode(), **kind)
    await send.ask("POST", "/token", f"{MARK}=1&{MARK}=2".encode(), **kind)
    await send.ask("POST", "/token", form(right), **{"Content-Type": f"text/{MARK}"})
    await send.ask("POST", "/token", form(signed(claims(time.time(), exp=MARK))), **kind)
    body = json.dumps(event(writeKey=GUARDED_KEY)).encode()
    assert await send.ask("POST", "/v1/track", body, Authorization=f"Bearer {token}") == 200
    await send.ask("POST", "/v1/track", body, Authorization=f"Bearer {token[:-1]}x")
    return [token, token[:-1], *(text for text in wrong if text != MARK), private_pem().splitlines()[5]]


async def until_all_have_failed(daemon: RunningDaemon) -> None:
    """Until every destination has a problem, or has parked something."""
    wanted = {"stranger", "nobody", *(f"answers_{status}" for status in STATUSES)}
    with anyio.fail_after(PATIENCE):
        while True:
            done = await anyio.run_process(daemon.command("status", "--json"))
            told = json.loads(done.stdout)["destinations"]
            if wanted == {name for name, one in told.items() if one["problem"] or one["parked"]}:
                return


async def test_neither_content_nor_keys_nor_secrets_are_in_the_log(tmp_path: Path, stranger: None) -> None:
    app = web.Application()
    app.router.add_route("*", "/{status}", quoting)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = configuration(f"http://127.0.0.1:{runner.addresses[0][1]}")
    (tmp_path / "public.pem").write_text(public_pem())
    try:
        async with running(tmp_path, config) as daemon, aiohttp.ClientSession() as http:
            send = Sender(daemon, http)
            await good(send)
            await bad(send)
            await hostile(send)
            secret = await tokens(send)
            await until_all_have_failed(daemon)
            wrong = config.replace(f'"{SECRETS["metrics"]}"', f'["{SECRETS["metrics"]}"]').replace(
                f'write_keys = ["{KEY}"]', f'write_keys = "{KEY}"'
            )
            daemon.config.write_text(re.sub("headers = .*", f'headers = "{SECRETS["header"]}"', wrong))
            daemon.signal(signal.SIGHUP)
            await until(lambda: "not reloaded" in daemon.log())
            assert await daemon.stop() == 0
            log = daemon.log()
    finally:
        await runner.cleanup()

    lines = [json.loads(line) for line in log.splitlines()]
    said = {line["event"] for line in lines}
    # It is no empty log that is searched.
    assert {
        "started",
        "token issued",
        "a token was refused",
        "a hook failed; the event went to discarded",
        "cdpd_committed of a hook failed",
        "a slow hook held everything up",
        "a pixel's event was not taken",
        "a request for a disabled source was answered and dropped",
        "the destination itself failed",
        "events wait and are tried again",
        "events were refused and parked",
        "the destination is paused; it is probed now and then",
        "not reloaded: the configuration is wrong",
    } <= said
    everything = log + daemon.output
    for text in (
        MARK,
        KEY,
        OLD_KEY,
        GUARDED_KEY,
        "wk_disabled_77d0e1",
        "wk_other_in_body_88",
        *SECRETS.values(),
        *secret,
    ):
        places = [line for line in everything.splitlines() if text in line or quote(text, "") in line]
        assert not places, f"{text!r} is in the log"
