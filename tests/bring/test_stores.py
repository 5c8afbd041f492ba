"""Objects in a bucket, of an S3 server on this machine (moto)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cdpd.bring.stores import stored
from cdpd.bring.unpack import Unreadable
from tests.s3 import s3_client, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def store(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the server with a bucket `archive`; the environment has what finds it."""
    for key, value in server.items():
        monkeypatch.setenv(key, value)
    client = s3_client(server)
    client.create_bucket(Bucket="archive")
    yield client
    for piece in client.list_objects_v2(Bucket="archive").get("Contents", []):
        client.delete_object(Bucket="archive", Key=piece["Key"])
    client.delete_bucket(Bucket="archive")


def test_a_prefix_gives_its_archives_in_order_and_an_address_of_one_object_that_one(store: Any) -> None:
    big = bytes(range(256)) * 40_000  # more than one request's worth
    for key, body in {
        "p/segment-logs/src/1704153600000/b.gz": b"second",
        "p/segment-logs/src/1704067200000/a.gz": big,
        "p/segment-logs/dummy-object.txt": b"",
        "p/segment-logs-of-others/x.gz": b"no",
    }.items():
        store.put_object(Bucket="archive", Key=key, Body=body)
    found = stored("s3://archive/p/segment-logs", {})
    assert [file.name for file in found.found] == [
        "s3://archive/p/segment-logs/src/1704067200000/a.gz",
        "s3://archive/p/segment-logs/src/1704153600000/b.gz",
    ]
    assert found.left_out == 1
    assert found.size == len(big) + 6
    assert b"".join(found.open(found.found[0])) == big
    (one,) = stored("s3://archive/p/segment-logs/src/1704153600000/b.gz", {}).found
    assert one == found.found[1]
    assert len(stored("s3://archive", {}).found) == 3


def test_an_object_that_changes_while_it_is_read_is_no_mixture(store: Any) -> None:
    store.put_object(Bucket="archive", Key="a.gz", Body=b"x" * 9_000_000)
    found = stored("s3://archive/a.gz", {})
    pieces = found.open(found.found[0])
    next(pieces)
    store.put_object(Bucket="archive", Key="a.gz", Body=b"y" * 9_000_000)
    with pytest.raises(Unreadable, match="recondition"):
        next(pieces)


def test_a_bucket_that_is_not_there_is_told_on_one_line(store: Any) -> None:
    with pytest.raises(Unreadable, match="s3://nowhere/x: ") as caught:
        stored("s3://nowhere/x", {})
    assert "\n" not in str(caught.value)
    with pytest.raises(Unreadable, match="names no bucket"):
        stored("s3:///x", {})
    with pytest.raises(Unreadable, match="s3://archive: "):
        stored("s3://archive/x", {"regiom": "eu"})


def test_without_obstore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(Unreadable, match=r"pip install 'cdpd-daemon\[object-stores\]'"):
        stored("gs://bucket/x", {})
