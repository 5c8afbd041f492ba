"""A function that is loaded: its handlers called with events or a request, and what they return made a Result."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec
from msgspec import Raw

from cdpd.config.functions import HANDLERS, ON_BATCH, ON_REQUEST, Kind
from cdpd.functions.emit import collecting
from cdpd.functions.frames import Result, Webhook
from cdpd.functions.meaning import result_of
from cdpd.functions.request import Request

_THREADS: Final = 256
"""Plain handlers that may run at the same time: more than any caller asks for, so that none waits for its turn."""
MESSAGE_ID: Final = "messageId"
_decode_webhook: Final = msgspec.json.Decoder(Webhook).decode


class Late(Exception):
    """A call took longer than it may."""


class Handlers:
    """Raises whatever running the file raises."""

    def __init__(self, file: str, kind: Kind, settings: dict[str, Any]) -> None:
        self.stuck = False
        """Whether a plain handler did not end in time: its thread goes on, nobody can stop it."""
        self._kind = kind
        self._settings = settings
        self._folder = os.path.dirname(file)  # noqa: PTH120 - compared with the file names in tracebacks
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="function")
        module = _load(Path(file))
        self.by_name = {
            name: found for name in HANDLERS[kind] if callable(found := getattr(module, name, None))
        }

    async def run(self, items: Sequence[Raw], limit: float) -> list[Result]:
        """One result an item; a failure is one too."""
        if self._kind == "source":
            return [await self._request(item, limit) for item in items]
        events = [json.loads(bytes(item)) for item in items]
        names = [f"on_{event.get('type')}" for event in events]
        if ON_BATCH in self.by_name and (len(items) > 1 or names[0] not in self.by_name):
            return await self._batch(items, events, limit)
        calls = (self._event(*each, limit) for each in zip(names, items, events, strict=True))
        return list(await asyncio.gather(*calls))

    async def _request(self, item: Raw, limit: float) -> Result:
        webhook = _decode_webhook(item)
        request = Request(webhook.url, webhook.headers, webhook.body)
        with collecting() as emitted:
            try:
                await self._call(ON_REQUEST, request, limit)
                return Result(emitted=[_text(event) for event in emitted])
            except BaseException as error:  # noqa: BLE001 - becomes a result
                return self._failed(error, limit)

    async def _event(self, name: str, item: Raw, event: dict[str, Any], limit: float) -> Result:
        if name not in self.by_name:
            return Result("unsupported", f"the function has no {name}")
        try:
            value = await self._call(name, event, limit)
            return self._returned(name, item, value)
        except BaseException as error:  # noqa: BLE001 - becomes a result
            return self._failed(error, limit)

    async def _batch(
        self, items: Sequence[Raw], events: Sequence[dict[str, Any]], limit: float
    ) -> list[Result]:
        try:
            value = await self._call(ON_BATCH, list(events), limit)
            if self._kind == "destination" and value is None:
                return [Result() for _ in items]
            if not isinstance(value, list | tuple):
                raise TypeError(f"{ON_BATCH} returned {type(value).__name__}: a list is expected")
            return [self._member(item, value[i] if i < len(value) else None) for i, item in enumerate(items)]
        except BaseException as error:  # noqa: BLE001 - becomes a result
            failed = self._failed(error, limit)
            return [failed for _ in items]

    def _member(self, item: Raw, value: Any) -> Result:
        """What `on_batch` says of one event: an insert function an event or nothing, a destination a status."""
        if self._kind == "insert":
            return self._returned(ON_BATCH, item, value)
        if value is None:
            return Result("status", f"{ON_BATCH} says nothing of this event", status=500)
        status = value.get("status") if isinstance(value, Mapping) else None
        if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status < 600:
            raise TypeError(f"{ON_BATCH} returned {value!r}: {{'status': …, 'errormessage': …}} is expected")
        said = value.get("errormessage")
        return Result("status", "" if said is None else str(said), status=status)

    def _returned(self, name: str, item: Raw, value: Any) -> Result:
        if self._kind == "destination":
            return Result()
        if value is None:
            return Result("dropped", f"{name} returned nothing for it")
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} returned {type(value).__name__}: the event is expected")
        return _changes(json.loads(bytes(item)), value)

    def _failed(self, error: BaseException, limit: float) -> Result:
        if isinstance(error, Late):
            return Result("timeout", f"it took longer than {limit:g} s")
        return result_of(error, self._folder)

    async def _call(self, name: str, argument: Any, limit: float) -> Any:
        """What a handler returns. Raises Late, and whatever it raises."""
        handler = self.by_name[name]
        try:
            async with asyncio.timeout(limit) as late:
                if inspect.iscoroutinefunction(handler):
                    return await handler(argument, self._settings)
                value = await self._in_thread(handler, argument)
                return await value if inspect.isawaitable(value) else value
        except TimeoutError:
            if late.expired():
                raise Late from None
            raise

    async def _in_thread(self, handler: Callable[..., Any], argument: Any) -> Any:
        """Raises what the handler raises; SystemExit too, which would end a thread without a word."""
        context = copy_context()
        thread = asyncio.get_running_loop().run_in_executor(
            self._threads, context.run, _told, handler, argument, self._settings
        )
        try:
            value, error = await asyncio.shield(thread)
        except asyncio.CancelledError:
            self.stuck = self.stuck or not thread.done()
            raise
        if error is not None:
            raise error
        return value


def _told(handler: Callable[..., Any], argument: Any, settings: Any) -> tuple[Any, BaseException | None]:
    try:
        return handler(argument, settings), None
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        return None, error


def _load(file: Path) -> ModuleType:
    """Run the file. Its folder is where it imports its neighbours from."""
    module = ModuleType(f"cdpd_function_{file.stem}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(file.parent))
    exec(
        compile(file.read_bytes(), str(file), "exec"), module.__dict__
    )  # never from a .pyc: those may be stale
    return module


def _changes(before: dict[str, Any], after: Mapping[str, Any]) -> Result:
    """What an insert function made of an event; the messageId stays as it is."""
    changed: dict[str, Raw] = {}
    for key, value in after.items():
        text = _text(value)
        if key != MESSAGE_ID and (key not in before or bytes(text) != bytes(_text(before[key]))):
            changed[str(key)] = text
    removed = [key for key in before if key not in after and key != MESSAGE_ID]
    return Result(changed=changed, removed=removed)


def _text(value: Any) -> Raw:
    """JSON text. Raises TypeError, ValueError for what JSON cannot say."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Raw(text.encode("utf-8", "replace"))
