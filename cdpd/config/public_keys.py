"""Public keys of apps: read from [oauth.NAME] or a file of its own, and why one cannot be used.

What reads keys takes long to import: only where a configuration has any.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final

from cdpd.config.model import PublicKey
from cdpd.config.rules import table
from cdpd.config.shape import Fault

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SHORTEST: Final = 2048
"""Bits of a key (RFC 7518 §3.3)."""
_LARGEST: Final = 64 * 1024
"""Bytes of a file that is read."""
_MAKE: Final = "`openssl pkey -in PRIVATE.pem -pubout` prints the public key of a private one"
_INSTEAD: Final = (
    (b"PRIVATE KEY-----", f"a private key, which only the app itself may have; {_MAKE}"),
    (
        b"-----BEGIN CERTIFICATE",
        "a certificate; `openssl x509 -in FILE -noout -pubkey` prints its public key",
    ),
    (b"ssh-", "a key for SSH; `ssh-keygen -e -m PKCS8 -f FILE` prints it as PEM"),
    (b"---- BEGIN SSH2", "a key for SSH; `ssh-keygen -e -m PKCS8 -f FILE` prints it as PEM"),
)


def read_public_key(key: PublicKey) -> RSAPublicKey:
    """The key itself; reads its file. Raises ValueError, which says what is wrong and what to do."""
    if key.file is None:
        return parse_public_key((key.pem or "").encode())
    try:
        with open(key.file, "rb") as file:
            text = file.read(_LARGEST)
    except OSError as error:
        raise ValueError(f"{key.file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        return parse_public_key(text)
    except ValueError as error:
        raise ValueError(f"{key.file}: {error}") from None


def parse_public_key(text: bytes) -> RSAPublicKey:
    """The RSA key in `text` (PEM, SubjectPublicKeyInfo or PKCS #1). Raises ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    for mark, what in _INSTEAD:
        if text.lstrip().startswith(mark) or (mark.endswith(b"-----") and mark in text):
            raise ValueError(f"this is {what}")
    if b"-----BEGIN " not in text:
        raise ValueError(f"this is no public key in PEM, which begins -----BEGIN PUBLIC KEY-----; {_MAKE}")
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"this public key is damaged, or of an unknown kind; {_MAKE}") from None
    if not isinstance(key, RSAPublicKey):
        kind = type(key).__name__.strip("_").removesuffix("PublicKey")
        raise ValueError(f"this is a key of the kind {kind}: assertions are signed with RSA (RS256)")
    if key.key_size < SHORTEST:
        raise ValueError(f"this key has {key.key_size} bits: RSA keys of {SHORTEST} bits or more are safe")
    if key.public_numbers().e < 3:
        raise ValueError("this key's exponent is 1: anybody could sign with it")
    return key


def unreadable_keys(data: dict[str, Any], folder: FilePath) -> Iterator[Fault]:
    """Every key of [oauth] that cannot be used; files are relative to `folder`."""
    for name in table(data, "oauth"):
        keys = table(data, "oauth", name).get("keys")
        for i, key in enumerate(keys if isinstance(keys, list) else []):
            if not isinstance(key, dict):
                continue
            for option in ("pem", "file"):
                value = key.get(option)
                if not isinstance(value, str):
                    continue
                if option == "file":
                    value = str(folder.absolute() / FilePath(value).expanduser())
                try:
                    read_public_key(PublicKey(kid="", **{option: value}))
                except ValueError as error:
                    yield Fault(("oauth", name, "keys", i, option), str(error))
