"""The packages that `cdpd new` writes: a folder of templates for each kind, and filling them in.

In a template `@name@` and the like stand for the fields of Names.
"""

from __future__ import annotations

import builtins
import keyword
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

Kind = Literal["hook", "destination"]

LONGEST: Final = 40
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", re.ASCII)
_CORE: Final = "daemon"
"""cdpd-daemon is the daemon's own package."""


class Names(Struct, frozen=True):
    """What things are called in the new package."""

    name: str
    """As the configuration calls it: `my_crm`."""
    NAME: str
    """In the names of environment variables."""
    distribution: str
    package: str
    Class: str
    title: str
    """For people, and in an event's `integrations`: `My Crm`."""
    version: str
    """Of the cdpd that wrote it."""


def names_for(kind: Kind, text: str) -> Names:
    """The names that follow from what somebody typed. Raises ValueError with a way out."""
    if not _NAME.fullmatch(text) or len(text) > LONGEST:
        right = re.sub(r"[^a-z0-9]+", "-", re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", text).lower()).strip("-")
        right = right.lstrip("0123456789-")[:LONGEST].rstrip("-")
        hint = f", like {right}" if right else ", like my-crm"
        raise ValueError(
            f"{text!r} cannot be a name: write lower-case letters, digits and - ({LONGEST} at most){hint}"
        )
    if text.startswith(("cdpd-", "cdpd_")):
        raise ValueError(
            f"{text!r}: leave the cdpd out; the package will be called cdpd-{text[5:]} by itself"
        )
    words = re.split("[-_]", text)
    if words == [_CORE]:
        raise ValueError("cdpd-daemon is the daemon's own package: choose another name")
    cls = "".join(word.capitalize() for word in words)
    if keyword.iskeyword(cls) or hasattr(builtins, cls) or cls in _words_of_code(kind):
        cls += kind.capitalize()
    name = "_".join(words)
    return Names(
        name=name,
        NAME=name.upper(),
        distribution="cdpd-" + "-".join(words),
        package=f"cdpd_{name}",
        Class=cls,
        title=" ".join(word.capitalize() for word in words),
        version=version("cdpd-daemon"),
    )


def _words_of_code(kind: Kind) -> set[str]:
    """Words that the templates' code uses, in which a class of that name would hide something."""
    texts = (_template(kind, name) for name in ("module.py", "test.py"))
    return {word for text in texts for word in re.findall(r"\w+", re.sub(r"@\w+@", "", text))}


def contents(kind: Kind, names: Names) -> dict[str, str]:
    """Path in the package → text."""
    cases = {"tests/cases.json": _filled(kind, "cases.json", names)} if kind == "destination" else {}
    return {
        "pyproject.toml": _filled(kind, "pyproject.toml", names),
        "README.md": _filled(kind, "README.md", names),
        f"{names.package}/__init__.py": _filled(kind, "module.py", names),
        f"{names.package}/py.typed": "",
        f"tests/test_{names.name}.py": _filled(kind, "test.py", names),
        **cases,
    }


def _filled(kind: Kind, template: str, names: Names) -> str:
    return re.sub(r"@(\w+)@", lambda match: str(getattr(names, match[1])), _template(kind, template))


def _template(kind: Kind, name: str) -> str:
    return (files(__name__) / kind / f"{name}.txt").read_text(encoding="utf-8")


def write_package(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files into `folder`, which must not be there, or be empty: all of them or none.

    Raises FileExistsError for a folder with something in it, OSError where it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, text in texts.items():
            path = making / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        making.chmod(0o777 & ~_umask(making))
        # A folder can only take the place of an empty one: nothing is ever overwritten.
        making.rename(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise


def _umask(folder: Path) -> int:
    """What the system takes away from a new folder's rights: mkdtemp makes its own private."""
    probe = folder / "probe"
    probe.mkdir()
    mode = probe.stat().st_mode & 0o777
    probe.rmdir()
    return 0o777 & ~mode
