"""What may go wrong with state.db, for those too who only read it: light to import."""

from __future__ import annotations


class StateError(OSError):
    """state.db cannot be used; the text says why and what to do."""
