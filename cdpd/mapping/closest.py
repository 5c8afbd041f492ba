"""The known word that is nearest to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str:
    """One of `known`, or "" where none is close."""
    import difflib  # only where something is wrong: it is slow to import

    folded = {choice.lower(): choice for choice in known}
    found = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.7)
    return folded[found[0]] if found else ""
