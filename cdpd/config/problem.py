"""What is wrong, or risky, with a configuration: each with file, line, column, key and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct, structs

_FOUND: Final = re.compile(r'found ".*"')
_WRITE: Final = re.compile(r'write \[".*"\]')


class Problem(Struct, frozen=True, omit_defaults=True):
    """One error or warning. `line` and `column` are 1-based; 0 where no place can be named."""

    message: str
    """What is wrong and what was expected."""
    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""
    """The key's path, e.g. `destinations.signups.path`."""
    suggestion: str = ""
    """What to write instead, or what to do."""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        return f"{text}; {self.suggestion}" if self.suggestion else text

    @property
    def for_log(self) -> str:
        """The same without the value that was found: it may be a secret, or a write key that stands alone."""
        message = _FOUND.sub('found "…"', self.message)
        suggestion = _WRITE.sub('write ["…"]', self.suggestion)
        return str(structs.replace(self, message=message, suggestion=suggestion))


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds every reason found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)


def key_text(path: Iterable[str | int]) -> str:
    """A path as it would be written: `destinations.signups.filters[0].if`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part.isascii() and part.replace("_", "").replace("-", "").isalnum()
            text += ("." if text else "") + (part if plain else f'"{part}"')
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean "listen"?`, or "" where nothing known is close."""
    choices = list(known)
    folded = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    close = close or difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f'did you mean "{folded[close[0]]}"?' if close else ""
