"""Secrets: values of the configuration that are never shown.

Written in TOML as `"…"`, `{ credential = "name" }` (what systemd's LoadCredential= brought),
`{ file = "path" }` or `{ env = "NAME" }`; resolved when the configuration is read.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from msgspec import Struct

HIDDEN: Final = "•••"
"""What stands wherever a secret would have been shown."""
_FORMS: Final = 'write "…", { credential = "name" }, { file = "path" } or { env = "NAME" }'


class Secret:
    """A text that prints as `•••`; `reveal()` gives it to the code that needs it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the wire only, never for a message, a log or a file."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


def resolve(value: object, environ: Mapping[str, str] | None = None) -> Secret:
    """The secret that a TOML value names. Raises ValueError (which never quotes the secret)."""
    environ = os.environ if environ is None else environ
    if isinstance(value, str):
        return Secret(value)
    if not isinstance(value, dict) or len(value) != 1 or not isinstance(next(iter(value.values())), str):
        raise ValueError(f"this is a secret: {_FORMS}")
    (form, name), *_ = value.items()
    if form == "env":
        if name not in environ:
            raise ValueError(f"the environment variable {name} is not set")
        return Secret(environ[name])
    if form == "file":
        return _read(Path(name).expanduser())
    if form == "credential":
        folder = environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise ValueError(
                f"no credential {name!r}: systemd gave none to this process (LoadCredential={name}:…)"
            )
        if "/" in name or name in ("", ".", ".."):
            raise ValueError(f"{name!r} is no name of a credential")
        return _read(Path(folder) / name)
    raise ValueError(f"a secret cannot come from {form!r}: {_FORMS}")


def _read(path: Path) -> Secret:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"the secret's file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the secret's file {path} is no UTF-8 text") from None
    text = text.rstrip("\r\n")
    if not text:
        raise ValueError(f"the secret's file {path} is empty")
    return Secret(text)


def secrets_in(value: Any) -> Iterator[Secret]:
    """Every secret in a Config, however deep."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from secrets_in(item)
