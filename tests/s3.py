"""An S3 server on this machine (moto), for tests of what reads and writes buckets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.request import Request, urlopen

from tests.services import need


def s3_client(environment: dict[str, str]) -> Any:
    """A client of that server."""
    import boto3

    return boto3.client(
        "s3",
        region_name=environment["AWS_REGION"],
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Runs inside the `with`; gives the environment by which vendors' tools and ours find it."""
    need(find_spec("moto") is not None, "the package moto[s3,server] (pip install -e '.[test]')")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # It keeps its buckets in this process: those of an earlier server go.
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        yield {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }
    finally:
        server.stop()
