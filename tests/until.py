"""Waiting for what another process does: it tells nobody, so it is looked at again and again."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from tests.running import PATIENCE


async def until(holds: Callable[[], object]) -> None:
    """Return once it holds. Raises TimeoutError after PATIENCE."""
    with anyio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - no event comes from another process
            await anyio.sleep(0.02)
