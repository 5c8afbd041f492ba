"""A function's own process: `python -m cdpd.functions.worker`, started by the daemon and by nobody else.

Standard input and output carry frames (frames.py). Where the input ends the daemon is gone, or done with it: so is this
process, at once. What handlers print is kept apart, with the call that printed it.
"""

from __future__ import annotations

import asyncio
import ctypes
import io
import os
import signal
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from cdpd.functions.frames import Frames, Load, Loaded, Ran, Run, Up, decode_down, frame
from cdpd.functions.handlers import Handlers
from cdpd.functions.meaning import result_of

MOST_OUTPUT: Final = 4096
"""Characters that are kept of what one call prints (spec/connections.md §9.4)."""
_PR_SET_PDEATHSIG: Final = 1
_printed: Final[ContextVar[io.StringIO | None]] = ContextVar("printed", default=None)


class _Printing(io.TextIOBase):
    """Standard output and error of handlers: to the call in whose context it is written."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        kept = _printed.get()
        if kept is not None and kept.tell() < MOST_OUTPUT:
            kept.write(text[: MOST_OUTPUT - kept.tell()])
        return len(text)


async def _serve(read: int, write: int) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(read, "rb", 0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    frames = Frames()
    handlers: Handlers | None = None
    async with asyncio.TaskGroup() as tasks:
        while data := await reader.read(1 << 18):
            for text in frames.feed(data):
                match decode_down(text):
                    case Load() as load:
                        loaded, handlers = _loaded(load)
                        _send(write, loaded)
                    case Run() as run if handlers is not None:
                        tasks.create_task(_run(handlers, run, write))
        os._exit(0)


def _loaded(load: Load) -> tuple[Loaded, Handlers | None]:
    output = io.StringIO()
    token = _printed.set(output)
    try:
        handlers = Handlers(load.file, load.kind, load.settings)
    except BaseException as error:  # noqa: BLE001 - a file of somebody's may raise anything
        if isinstance(error, SyntaxError):
            return Loaded(problem=f"no Python: line {error.lineno}: {error.msg}"), None
        told = result_of(error, str(Path(load.file).parent))
        return Loaded(problem=f"{type(error).__name__}: {error}"[:2000], trace=told.trace), None
    finally:
        _printed.reset(token)
    return Loaded(sorted(handlers.by_name)), handlers


async def _run(handlers: Handlers, run: Run, write: int) -> None:
    output = io.StringIO()
    _printed.set(output)  # this task's own context
    results = await handlers.run(run.items, run.limit)
    _send(write, Ran(run.id, results, output.getvalue(), handlers.stuck))


def _send(write: int, message: Up) -> None:
    data = memoryview(frame(message))
    while data:
        data = data[os.write(write, data) :]


def main() -> None:
    """Until the input ends."""
    if sys.platform == "linux":  # also where it hangs in C code and cannot see that the input ended
        library: Any = ctypes.CDLL(None)
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.dont_write_bytecode = True
    read, write = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what prints past sys.stdout must not end up among the frames
    sys.stdout = sys.stderr = _Printing()
    try:
        asyncio.run(_serve(read, write))
    finally:
        os._exit(1)  # threads that hang are not waited for


if __name__ == "__main__":
    main()
