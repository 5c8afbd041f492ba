"""The certificate of `[http.tls]`: read whole, checked, and what is wrong with it.

Reading is one step and using what was read another, so that a file that changes in between changes nothing.
What parses certificates takes long to import: only where one is configured.
"""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from cdpd.config.rules import table
from cdpd.config.shape import Fault

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SOON: Final = 14 * 86400
"""Seconds before its end from which on a certificate is warned of."""
_LARGEST: Final = 256 * 1024
"""Bytes of a file that is read."""
_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_FORMS: Final = 'write "path", { file = "path" }, { credential = "name" } or { env = "NAME" }'


class CertificateFiles(Struct, frozen=True):
    """A certificate with its key, as they were read; known to fit together."""

    chain: bytes
    """PEM: the server's own first, then those that lead to a root."""
    key: bytes
    """PEM."""
    name: str
    """Where it is from: a path, or `credential NAME`."""
    begins: int
    """Seconds since the epoch."""
    ends: int

    def __repr__(self) -> str:  # the key is nobody's business
        return f"CertificateFiles({self.name!r})"


def configured_certificate(
    data: dict[str, Any], folder: Path, environ: Mapping[str, str] | None = None
) -> CertificateFiles | Fault | None:
    """What `[http.tls]` names, or what is wrong with it; a relative path is below `folder`.

    None where there is none, or its shape is wrong (others tell of that).
    """
    options = table(data, "http", "tls")
    if not {"certificate", "key"} <= set(options):
        return None
    environ = os.environ if environ is None else environ
    read: dict[str, tuple[str, bytes]] = {}
    for option in ("certificate", "key"):
        try:
            found = _read(options[option], folder, environ)
        except ValueError as error:
            return Fault(("http", "tls", option), str(error))
        if found is None:
            return None
        read[option] = found
    try:
        return _checked(*read["certificate"], *read["key"])
    except _Wrong as error:
        return Fault(("http", "tls", error.option), str(error))


def certificate_risk(files: CertificateFiles, now: float) -> Fault | None:
    """A certificate that clients refuse, or soon will."""
    path = ("http", "tls", "certificate")
    if now >= files.ends:
        return Fault(path, f"{files.name} has expired, on {_day(files.ends)}: clients refuse it", _RENEW)
    if now < files.begins:
        return Fault(path, f"{files.name} is not valid before {_day(files.begins)}: clients refuse it")
    if files.ends - now <= SOON:
        days = int((files.ends - now) // 86400)
        left = f"in {days} days" if days > 1 else "tomorrow" if days else "today"
        return Fault(path, f"{files.name} expires {left}, on {_day(files.ends)}", _RENEW)
    return None


_RENEW: Final = "renew it, then `cdpd reload`"


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    """What TLS connections are made with: Python's own defaults, TLS 1.2 at least, HTTP/1.1. Raises ssl.SSLError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with ExitStack() as stack:
        chain, key = (stack.enter_context(_as_file(text)) for text in (files.chain, files.key))
        context.load_cert_chain(chain, key, password=_no_passphrase)
    return context


class _Wrong(Exception):
    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def _read(value: object, folder: Path, environ: Mapping[str, str]) -> tuple[str, bytes] | None:
    """(where it is from, the PEM text); None where the value has a wrong shape. Raises ValueError."""
    if isinstance(value, str):
        return _read_file(folder.absolute() / Path(value).expanduser())
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        return None
    match value:
        case {"file": str(path), **rest} if not rest:
            return _read_file(folder.absolute() / Path(path).expanduser())
        case {"env": str(name), **rest} if not rest:
            if name not in environ:
                raise ValueError(f"the environment variable {name} is not set")
            return f"environment variable {name}", environ[name].encode(errors="surrogateescape")
        case {"credential": str(name), **rest} if not rest:
            given = environ.get("CREDENTIALS_DIRECTORY")
            if not given:
                way = f"LoadCredential={name}:…"
                raise ValueError(f"no credential {name!r}: systemd gave none to this process ({way})")
            if "/" in name or name in ("", ".", ".."):
                raise ValueError(f"{name!r} is no name of a credential")
            return f"credential {name}", _read_file(Path(given) / name)[1]
    raise ValueError(f"a certificate or key cannot be found so: {_FORMS}")


def _read_file(path: Path) -> tuple[str, bytes]:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not text.strip():
        raise ValueError(f"{path} is empty")
    if len(text) > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST} bytes: it is no certificate or key")
    return str(path), text


def _checked(name: str, chain: bytes, key_name: str, key: bytes) -> CertificateFiles:
    """The two, if they are what they should be and fit together. Raises _Wrong."""
    blocks = _BLOCK.findall(chain)
    if not blocks:
        what = "a private key" if b"PRIVATE KEY-----" in chain else "no certificate in PEM"
        raise _Wrong("certificate", f"{name} holds {what}: it has to begin -----BEGIN CERTIFICATE-----")
    if b"PRIVATE KEY-----" not in key:
        what = "a certificate" if _BLOCK.search(key) else "no private key in PEM"
        raise _Wrong("key", f"{key_name} holds {what}: it has to begin -----BEGIN PRIVATE KEY-----")
    if b"ENCRYPTED" in key:
        way = "`openssl pkey -in FILE -out NEW` removes the passphrase"
        raise _Wrong("key", f"{key_name} is locked with a passphrase, which nobody is there to type: {way}")
    leaf = _parsed(name, blocks)
    files = CertificateFiles(
        chain,
        key,
        name,
        int(leaf.not_valid_before_utc.timestamp()),
        int(leaf.not_valid_after_utc.timestamp()),
    )
    try:
        server_context(files)
    except ssl.SSLError as error:
        reason = error.reason or "damaged"
        if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            raise _Wrong("key", f"{key_name} is not the key of the certificate {name}") from None
        if reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            raise _Wrong("certificate", f"{name}: its key or its digest is too weak for OpenSSL") from None
        why = reason.replace("_", " ").lower()
        raise _Wrong("key", f"{key_name} with {name}: OpenSSL cannot use them ({why})") from None
    return files


def _parsed(name: str, blocks: list[bytes]) -> Certificate:
    """The first certificate; each has to be one."""
    from cryptography.x509 import load_pem_x509_certificate

    parsed = []
    for i, block in enumerate(blocks):
        try:
            parsed.append(load_pem_x509_certificate(block))
        except ValueError:
            raise _Wrong("certificate", f"{name}: certificate {i + 1} in it is damaged") from None
    return parsed[0]


def _no_passphrase() -> str:
    """Instead of asking at the terminal."""
    return ""


@contextmanager
def _as_file(text: bytes) -> Iterator[str]:
    """A path from which OpenSSL, which takes nothing else, can read this; in memory only, on Linux."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("cdpd-tls")
        try:
            os.write(descriptor, text)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        yield file.name


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
