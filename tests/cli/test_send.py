"""`cdpd send`: events from a file, a pipe or options, over HTTP to whatever answers."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, field

from cdpd.cli.event_input import Ready
from cdpd.cli.uploader import MAX_BYTES, MAX_EVENTS, Refused, Uploader, batches
from cdpd.config.data_folder import development_key

from .conftest import Cdpd, control_server, in_a_process

KEY = "wk_website_4f1c"


class Answer(Struct):
    status: int = 200
    body: bytes = b'{"success":true}'
    headers: dict[str, str] = {}


class Server(Struct):
    """A daemon as `send` sees it: keeps what is posted, answers as told, then with 200."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def batches(self) -> list[list[dict[str, Any]]]:
        return [json.loads(body)["batch"] for _, _, body in self.requests]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for batch in self.batches for event in batch]


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.requests.append((self.path, dict(self.headers), body))
            answer = server.answers.pop(0) if server.answers else Answer()
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def to(server: Server) -> tuple[str, ...]:
    return ("--url", server.url, "--key", KEY)


# -- what is sent --------------------------------------------------------------------------------------


def test_an_event_is_described_by_options(cdpd: Cdpd, server: Server) -> None:
    ran = cdpd(
        "send", "--type", "track", "--event", "Signed Up", "--user", "u1", "--property", "plan=pro",
        "--property", "seats=3", "--property", 'tags=["a"]', "--property", "note=a=b", "--context", "ip=203.0.113.9",
        "--timestamp", "2026-01-31T12:00:00Z", "--message-id", "m1", *to(server),
    )  # fmt: skip
    assert (ran.code, ran.out, ran.err) == (0, f"sent 1 event to {server.url}\n", "")
    assert server.events == [
        {
            "type": "track", "event": "Signed Up", "userId": "u1", "timestamp": "2026-01-31T12:00:00Z",
            "messageId": "m1", "properties": {"plan": "pro", "seats": 3, "tags": ["a"], "note": "a=b"},
            "context": {"ip": "203.0.113.9"},
        }
    ]  # fmt: skip
    path, headers, _ = server.requests[0]
    assert path == "/v1/batch"
    assert headers["Authorization"] == "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()


def test_an_event_without_an_id_is_given_one_of_its_own(cdpd: Cdpd, server: Server) -> None:
    for _ in range(2):
        assert cdpd("send", "--type", "page", "--name", "Home", "--anonymous", "a", *to(server)).code == 0
    first, second = (event["messageId"] for event in server.events)
    assert first != second
    assert first.startswith("cdpd-send-")


@pytest.mark.parametrize("text", ["{0}\n\n{1}\n", "  {0}\n{1}", "[{0},\n{1}]", "\n[ {0} , {1} ]\n"])
def test_a_file_holds_one_event_a_line_or_one_array(
    cdpd: Cdpd, server: Server, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "events.ndjson"
    events = [
        {"type": "track", "event": "ä", "userId": "u", "messageId": "m1"},
        {"type": "page", "userId": "u", "messageId": "m2"},
    ]
    file.write_text(text.format(*(json.dumps(event) for event in events)))
    ran = cdpd("send", file, *to(server))
    assert (ran.code, ran.out) == (0, f"sent 2 events to {server.url}\n")
    assert server.events == events


def test_values_go_out_as_they_are_written(cdpd: Cdpd, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text(
        '{"type":"track","messageId":"m","properties":{"n":1.10,"big":123456789012345678901234567890}}'
    )
    assert cdpd("send", file, *to(server)).code == 0
    assert b'"properties":{"n":1.10,"big":123456789012345678901234567890}' in server.requests[0][2]


def test_events_come_from_a_pipe(server: Server, tmp_path: Path) -> None:
    piped = b'{"type":"identify","userId":"u1","messageId":"m1"}\n'
    for arguments in (("send", "-"), ("send",)):
        ran = in_a_process(*arguments, *to(server), cwd=tmp_path, stdin=piped)
        assert (ran.code, ran.err) == (0, "")
    assert [event["messageId"] for event in server.events] == ["m1", "m1"]


def test_batches_are_bounded_by_count_and_bytes_and_keep_the_order() -> None:
    small = [Ready(b"%d" % number, 0) for number in range(MAX_EVENTS + 1)]
    assert [len(batch) for batch in batches(small)] == [MAX_EVENTS, 1]
    large = [Ready(b"x" * size, 0) for size in (MAX_BYTES - 1, 1, MAX_BYTES * 2, 1, 1)]
    assert [[len(event.text) for event in batch] for batch in batches(large)] == [
        [MAX_BYTES - 1], [1], [MAX_BYTES * 2], [1, 1],
    ]  # fmt: skip
    assert list(batches([])) == []


def test_a_person_who_watches_sees_a_bar_and_a_pipe_does_not(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text('{"type":"page","userId":"u"}\n' * 1200)
    terminal, other_end = pty.openpty()
    program = [sys.executable, "-m", "cdpd", "send", str(file), *to(server)]
    environ = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=other_end, env=environ) as process:
        os.close(other_end)
        shown = b""
        try:
            while piece := os.read(terminal, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        assert process.stdout is not None
        assert (process.stdout.read(), process.wait()) == (f"sent 1,200 events to {server.url}\n".encode(), 0)
    os.close(terminal)
    assert b"kB" in shown
    assert in_a_process("send", file, *to(server)).err == ""


# -- what is no event ----------------------------------------------------------------------------------


def test_a_line_that_is_no_event_costs_only_itself(cdpd: Cdpd, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text(
        '{"type":"track","messageId":"m1"}\nnot json\n7\n"text"\n{"event":"x"}\n{"type":"trak"}\n'
        '{"type":"page","messageId":"m2"}\n'
    )
    ran = cdpd("send", file, *to(server))
    assert ran.code == 1
    assert [event["messageId"] for event in server.events] == ["m1", "m2"]
    assert ran.out == f"sent 2 events to {server.url}; 5 lines not sent: no event\n"
    said = ran.err.splitlines()
    assert said[0].startswith(f"cdpd: {file}:2: not JSON: ")
    assert said[1:] == [
        f"cdpd: {file}:3: expected an event, an object like {{…}}, found a number",
        f"cdpd: {file}:4: expected an event, an object like {{…}}, found a string",
        f'cdpd: {file}:5: has no "type": one of identify, track, page, screen, group, alias',
        f'cdpd: {file}:6: "type" is "trak"; did you mean "track"?',
    ]


def test_only_the_first_bad_lines_are_told_one_by_one(cdpd: Cdpd, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text("{}\n" * 100)
    ran = cdpd("send", file, "--json", *to(server))
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 21
    assert ran.json == {"url": server.url, "source": None, "sent": 0, "refused": 0, "bad": 100}
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--event", "x"), "needs --type"),
        (("--type", "trak", "--user", "u"), 'did you mean "track"?'),
        (("--type", "track", "--user", "u"), "--event 'Signed Up'"),
        (("--type", "page"), "--user ID, or --anonymous ID"),
        (("--type", "page", "--user", "u", "--property", "plan"), "'plan': write KEY=VALUE, like plan=pro"),
        (("--type", "page", "--user", "u", "file"), "not both"),
        (("gone.ndjson",), "cannot read gone.ndjson: no such file or directory"),
        ((".",), "cannot read .: is a directory"),
        (("--type", "page", "--user", "u", "--url", "localhost:8080"), "write http://HOST:PORT"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_and_nothing_sent(
    cdpd: Cdpd, server: Server, arguments: tuple[str, ...], said: str
) -> None:
    ran = cdpd("send", *to(server), *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("cdpd: ")
    assert said in ran.err
    assert server.requests == []


# -- answers -------------------------------------------------------------------------------------------


def test_a_busy_daemon_is_asked_again_when_it_said_with_the_same_events(cdpd: Cdpd, server: Server) -> None:
    server.answers = [
        Answer(503, b'{"message":"the disk is full"}', {"Retry-After": "0"}),
        Answer(429, b"", {"Retry-After": "0"}),
    ]
    ran = cdpd("send", "--type", "page", "--user", "u", *to(server))
    assert (ran.code, ran.out) == (0, f"sent 1 event to {server.url}\n")
    assert ran.err.splitlines()[0] == "cdpd: the disk is full; trying again in 0 s"
    assert len({event["messageId"] for event in server.events}) == 1
    assert [headers.get("X-Retry-Count") for _, headers, _ in server.requests] == [None, "1", "2"]


def test_waiting_doubles_and_what_the_daemon_asks_for_is_bounded(server: Server) -> None:
    waits: list[float] = []
    uploader = Uploader(server.url, KEY, sleep=waits.append, retries=4)
    server.answers = [
        Answer(500),
        Answer(500),
        Answer(500, headers={"Retry-After": "86400"}),
        Answer(500),
        Answer(500),
    ]
    with pytest.raises(Refused, match="tried 5 times") as caught:
        uploader.send([Ready(b"{}", 0)])
    uploader.close()
    assert waits == [0.25, 0.5, 30.0, 2.0]
    assert caught.value.final


def test_a_wrong_key_ends_it_at_once(cdpd: Cdpd, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text('{"type":"page","userId":"u"}\n' * (MAX_EVENTS + 1))
    server.answers = [
        Answer(401, b'{"error":{"code":"invalid_write_key","message":"no source has this write key"}}')
    ]
    ran = cdpd("send", file, *to(server))
    assert ran.code == 1
    assert ran.err == (
        f"cdpd: 500 events not taken: {server.url} answered 401: no source has this write key\n"
    )
    assert ran.out == f"sent 0 events to {server.url}; 500 refused; stopped before the end\n"
    assert len(server.requests) == 1


def test_a_refused_batch_does_not_keep_the_next_from_being_sent(
    cdpd: Cdpd, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text('{"type":"page","userId":"u"}\n' * (MAX_EVENTS + 1))
    server.answers = [Answer(413, b"too much")]
    ran = cdpd("send", file, *to(server))
    assert ran.code == 1
    assert ran.out == f"sent 1 event to {server.url}; 500 refused\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--type", "trak", "--user", "u"), "did you mean"),
        (("--type", "group", "--user", "u"), "--group ID"),
        (("--type", "alias", "--user", "u"), "--previous OLD"),
        (("--type", "page", "--user", "u", "--timestamp", "yesterday"), "'yesterday' is no time"),
    ],
)
def test_options_that_make_no_event_are_told(cdpd: Cdpd, options: tuple[str, ...], told: str) -> None:
    ran = cdpd("send", *options, "--url", "http://127.0.0.1:9", "--key", "k")
    assert ran.code == 2
    assert told in ran.err


def test_nobody_listening_is_told(cdpd: Cdpd) -> None:
    with serving() as gone:
        pass
    ran = cdpd("send", "--type", "page", "--user", "u", "--retries", 0, *to(gone))
    assert ran.code == 3
    assert "nobody listens there: is the daemon running?" in ran.err


# -- where to ------------------------------------------------------------------------------------------

TWO_SOURCES = """
[sources.website]
write_keys = ["wk_website"]
[sources.app]
write_keys = ["wk_app", "wk_app_old"]
[sources.off]
write_keys = ["wk_off"]
enabled = false
"""


class FakeDaemon:
    def __init__(self, url: str) -> None:
        self.url = url

    async def status(self) -> dict[str, Any]:
        return {"listen": [self.url]}


def sent_as(server: Server) -> str:
    return base64.b64decode(server.requests[-1][1]["Authorization"].split()[1]).decode()


def test_the_running_daemon_is_found_by_its_data_folder(cdpd: Cdpd, server: Server, tmp_path: Path) -> None:
    config = tmp_path / "cdpd.toml"
    config.write_text(TWO_SOURCES)
    with control_server(tmp_path / "data", FakeDaemon(server.url)):
        ran = cdpd(
            "send",
            "--type",
            "page",
            "--user",
            "u",
            "--source",
            "app",
            "--config",
            config,
            "--data-dir",
            tmp_path / "data",
        )
    assert (ran.code, ran.out) == (0, f"sent 1 event to {server.url} as source app\n")
    assert sent_as(server) == "wk_app:"


def test_without_a_running_daemon_it_is_where_the_configuration_says(
    cdpd: Cdpd, server: Server, tmp_path: Path
) -> None:
    config = tmp_path / "cdpd.toml"
    config.write_text(
        f'[http]\nlisten = "{server.url.removeprefix("http://")}"\n[sources.one]\nwrite_keys = ["wk_1"]\n'
    )
    assert cdpd("send", "--type", "page", "--user", "u", "--config", config).code == 0
    assert sent_as(server) == "wk_1:"


def test_a_development_daemons_key_is_found_in_its_data_folder(cdpd: Cdpd, server: Server) -> None:
    key = development_key(Path("cdpd-data"))
    assert cdpd("send", "--type", "page", "--user", "u", "--url", server.url).code == 0
    assert sent_as(server) == f"{key}:"


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        (TWO_SOURCES, (), "say which source to send as: --source NAME, one of website, app"),
        (TWO_SOURCES, ("--source", "web"), "there is no enabled source 'web'; did you mean \"website\"?"),
        (TWO_SOURCES, ("--source", "off"), "there is no enabled source 'off'"),
        ("[http]\n", (), "has no enabled source"),
        ("[http\n", (), "not valid TOML"),
        (
            None,
            (),
            "there is no daemon's key in cdpd-data; start one with `cdpd run`, or say --url and --key",
        ),
    ],
)
def test_a_source_that_cannot_be_told_is_asked_for(
    cdpd: Cdpd, tmp_path: Path, config: str | None, options: tuple[str, ...], said: str
) -> None:
    if config is not None:
        Path("cdpd.toml").write_text(config)
    ran = cdpd("send", "--type", "page", "--user", "u", *options)
    assert ran.code == 2
    assert said in ran.err
