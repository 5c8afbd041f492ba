"""Running a process's event loop: uvloop where there is one, repeats in the log bounded, libraries' words in it too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import structlog

from cdpd.clock import Clock
from cdpd.logs import libraries_tell
from cdpd.process import raise_file_limit
from cdpd.repeats import Repeats, tell_repeats


def run_loop(
    main: Callable[[], Awaitable[None]],
    repeats: Repeats,
    clock: Clock,
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Run `main` to its end. Raises what it raises, in a task group's wrapping."""

    async def whole() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell_repeats, repeats, clock, log)
            await main()
            tasks.cancel_scope.cancel()

    raise_file_limit()
    with libraries_tell(log):
        anyio.run(whole, backend_options={"use_uvloop": _has_uvloop()})


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True
