"""What options of hooks match names with: globs and regular expressions, checked when the configuration is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate


def listed(condition: str | list[str] | None) -> list[str]:
    """A condition that may be one text, as a list."""
    return [] if condition is None else [condition] if isinstance(condition, str) else condition


def globs(condition: str | list[str] | None) -> Callable[[str], object] | None:
    """Whether a name fits one of the patterns, as file names do; None where there is no condition."""
    if condition is None:
        return None
    patterns = listed(condition)
    return re.compile("|".join(map(translate, patterns)) if patterns else r"(?!)").match


def compiled(option: str, expressions: Sequence[str]) -> list[re.Pattern[str]]:
    """An option's regular expressions, which match in any case. Raises ValueError that names the wrong one."""
    found = []
    for number, expression in enumerate(expressions):
        try:
            found.append(re.compile(expression, re.IGNORECASE))
        except (re.error, OverflowError, RecursionError) as error:
            where = f"{option}[{number}]"
            raise ValueError(f"{where}: {expression!r} is no regular expression: {error}") from None
        if found[-1].search("") is not None:
            raise ValueError(f"{option}[{number}]: {expression!r} matches an empty text, and so everything")
    return found
