"""How this program was called, so that a command we print can be pasted as it is."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def program(arguments: Sequence[str] | None = None, path: str | None = None) -> str:
    """`cdpd` where the shell finds it by that name; else as it was called: `.venv/bin/cdpd`, `python -m cdpd`.

    `arguments` and `path` default to this process's `sys.argv` and `$PATH`.
    """
    arguments = sys.argv if arguments is None else arguments
    called = arguments[0] if arguments else ""
    name = os.path.basename(called)  # noqa: PTH119 - as text: a Path would drop the `./` in front
    if name == "__main__.py":
        return f"{python(path=path)} -m cdpd"
    if name != "cdpd" or _same(shutil.which("cdpd", path=path), called):
        return "cdpd"
    return shlex.quote(called)


def python(executable: str | None = None, path: str | None = None) -> str:
    """`python` where the shell finds this one by that name; else its path, from here if it is below."""
    executable = sys.executable if executable is None else executable
    for name in ("python", "python3"):
        if _same(shutil.which(name, path=path), executable):
            return name
    below = Path(executable)
    if below.is_relative_to(Path.cwd()):
        below = below.relative_to(Path.cwd())
    return shlex.quote(str(below))


def _same(found: str | None, called: str) -> bool:
    """Whether both are one file by name: all environments' pythons are links to one program, and differ."""
    return found is not None and Path(found).absolute() == Path(called).absolute()
