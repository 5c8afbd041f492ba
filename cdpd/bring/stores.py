"""Objects in S3, Google Cloud Storage and Azure, by obstore (an extra: it is only imported here).

Credentials come from the environment, as each vendor's own tools read them (AWS_ACCESS_KEY_ID, AWS_REGION,
AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY …).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cdpd.bring.inputs import Found, Inputs, order, wanted
from cdpd.bring.unpack import Unreadable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES: Final = ("s3", "gs", "az")
EXTRA: Final = "pip install 'cdpd-daemon[object-stores]'"
_METADATA: Final = ("169.254.169.254", "metadata.google.internal")
"""Where machines in a cloud ask for credentials: the last that is tried."""
_PIECE: Final = 8 * 1024 * 1024
"""Bytes of one request; a connection is not held open while events are sent."""


def stored(url: str, options: Mapping[str, str]) -> Inputs:
    """The object at `url`, or all archives' objects under it as a prefix.

    `options` are obstore's own settings of the store (`region`, `endpoint`, `skip_signature` …). Raises Unreadable.
    """
    try:
        import obstore
    except ImportError:
        raise Unreadable(f"reading {url.partition(':')[0]}:// needs a package more: {EXTRA}") from None
    bucket, key = _bucket_and_key(url)
    store = _store(bucket, options)

    def read(found: Found) -> Iterator[bytes]:
        path = found.name.removeprefix(bucket).lstrip("/")
        for start in range(0, found.size or 0, _PIECE):
            end = min(start + _PIECE, found.size or 0)
            asked: Any = {"range": (start, end)}
            if _has_etag(found):
                asked["if_match"] = found.stamp
            try:
                yield bytes(obstore.get(store, path, options=asked).bytes())
            except (obstore.exceptions.BaseError, OSError) as error:
                raise Unreadable(_short(error)) from None

    try:
        if key and not key.endswith("/"):
            try:
                return Inputs([_found(bucket, obstore.head(store, key))], read)
            except FileNotFoundError:
                pass  # a prefix then
        metas = [meta for piece in obstore.list(store, prefix=key or None) for meta in piece]
    except (obstore.exceptions.BaseError, OSError) as error:
        raise Unreadable(f"{url}: {_short(error)}") from None
    found = sorted(
        (_found(bucket, meta) for meta in metas if wanted(meta["path"])), key=lambda one: order(one.name)
    )
    return Inputs(found, read, left_out=len(metas) - len(found))


def _bucket_and_key(url: str) -> tuple[str, str]:
    """(the address of the bucket, the key or prefix in it)"""
    parts = urlsplit(url)
    if not parts.netloc:
        raise Unreadable(f"{url!r} names no bucket: write {parts.scheme}://BUCKET/PREFIX")
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")


def _store(bucket: str, options: Mapping[str, str]) -> ObjectStore:
    import os

    import obstore
    from obstore.store import from_url

    make: Callable[..., ObjectStore] = from_url  # its overloads know literal options only
    endpoint = options.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL") or ""
    plain = {"client_options": {"allow_http": True}} if endpoint.startswith("http://") else {}
    try:
        return make(bucket, config=dict(options), **plain)
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise Unreadable(f"{bucket}: {_short(error)}") from None


def _found(bucket: str, meta: Any) -> Found:
    return Found(f"{bucket}/{meta['path']}", meta["size"], meta["e_tag"] or meta["last_modified"].isoformat())


def _has_etag(found: Found) -> bool:
    return found.stamp.endswith('"')


def _short(error: Exception) -> str:
    """What obstore says, without the parts that only its developers want."""
    if any(address in str(error) for address in _METADATA):
        return (
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what your vendor's tools "
            "read (profiles in ~/.aws are not read); a public bucket needs --store skip_signature=true"
        )
    text = str(error).partition("\nDebug source")[0].partition("<?xml")[0]
    return " ".join(text.split()).rstrip(": ") or type(error).__name__
