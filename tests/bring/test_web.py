"""A file behind an address, from a server on this machine."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest

from cdpd.bring.unpack import Unreadable
from cdpd.bring.web import web


class Handler(http.server.BaseHTTPRequestHandler):
    body: ClassVar[bytes] = b"x" * 300_000
    cut: ClassVar[int] = 0

    def do_GET(self) -> None:
        if not self.path.startswith("/events.gz"):
            self.send_error(403)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.send_header("ETag", '"v1"')
        self.end_headers()
        self.wfile.write(self.body[: len(self.body) - self.cut])

    def log_message(self, *_: object) -> None:
        pass


class Broken(Handler):
    cut = 1000


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_file_is_downloaded_in_pieces_as_often_as_it_is_read() -> None:
    with serving(Handler) as url:
        found = web(f"{url}/events.gz?X-Amz-Signature=secret")
        (file,) = found.found
        assert file.name == f"{url}/events.gz"
        assert (file.size, file.stamp) == (len(Handler.body), '"v1"')
        for _ in range(2):
            pieces = list(found.open(file))
            assert b"".join(pieces) == Handler.body
            assert len(pieces) > 1


def test_a_download_that_breaks_off_is_told() -> None:
    with serving(Broken) as url:
        found = web(f"{url}/events.gz")
        with pytest.raises(Unreadable, match=r"the download broke off"):
            list(found.open(found.found[0]))


def test_what_the_server_refuses_is_told_without_what_may_be_secret() -> None:
    with serving(Handler) as url:
        with pytest.raises(Unreadable, match=r"/other: the server answered 403") as caught:
            web(f"{url}/other?signature=secret")
        assert "secret" not in str(caught.value)
    with pytest.raises(Unreadable, match=r"events.gz: .*refused"):
        web(f"{url}/events.gz")
    with pytest.raises(Unreadable, match="is no address"):
        web("https:///x")
