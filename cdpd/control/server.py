"""The control API: JSON over HTTP on a Unix socket in the data folder, which only its owner can reach.

Errors are `{"error": {"code", "message", "problems"?}}`: 400 bad request, 409 cannot be done, 422 a configuration
that is wrong, 503 not at this moment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from cdpd.config.problem import ConfigError
from cdpd.control.contract import Busy, Calls, CannotDo, Controlled, RetryRequest
from cdpd.control.private_socket import BACKLOG, ControlInUse, private_socket

__all__ = ["ControlInUse", "control_app", "serve_control"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a request's body."""


def control_app(
    daemon: Controlled, log: structlog.typing.FilteringBoundLogger, more: Calls | None = None
) -> web.Application:
    """The routes, for a daemon; `more` are those that its parts bring."""

    async def status(_: web.Request) -> web.Response:
        return _json(await daemon.status())

    async def reload(_: web.Request) -> web.Response:
        return _json(await daemon.reload())

    async def reopen(_: web.Request) -> web.Response:
        return _json(await daemon.reopen())

    async def retry(request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read() or b"{}", type=RetryRequest)
        return _json(await daemon.retry_discarded(asked.filter, asked.dry_run))

    app = web.Application(middlewares=[_errors(log)], client_max_size=_LARGEST)
    app.router.add_get("/status", status)
    app.router.add_post("/reload", reload)
    app.router.add_post("/reopen", reopen)
    app.router.add_post("/discarded/retry", retry)
    for name, call in (more or {}).items():
        method, _, path = name.partition(" ")
        app.router.add_route(method, path, _handler(call))
    return app


def _handler(call: Callable[[bytes], Awaitable[dict[str, Any]]]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return _json(await call(await request.read()))

    return handle


@asynccontextmanager
async def serve_control(
    path: Path,
    daemon: Controlled,
    log: structlog.typing.FilteringBoundLogger,
    more: Calls | None = None,
) -> AsyncIterator[None]:
    """Serve on the socket `path` (0600) inside the `with`; a stale one is replaced, ours removed at the end.

    `more` are calls besides the daemon's own.
    Raises ControlInUse where a daemon answers there already, SocketPathTooLong, or OSError.
    """
    with private_socket(path) as listener:
        runner = web.AppRunner(control_app(daemon, log, more), access_log=None, handle_signals=False)
        try:
            await runner.setup()
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            yield
        finally:
            await runner.cleanup()


def _errors(log: structlog.typing.FilteringBoundLogger) -> Any:
    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _error(error.status, "not_found" if error.status == 404 else "bad_request", error.reason)
        except msgspec.DecodeError as error:
            return _error(400, "bad_request", str(error))
        except Busy as error:
            return _error(503, "busy", str(error))
        except CannotDo as error:
            return _error(409, "cannot", str(error))
        except ConfigError as error:
            return _error(422, "config_invalid", "the configuration is wrong; nothing was changed", error)
        except Exception as error:
            # The command hears of it, the daemon goes on: a fault in an answer is no fault in the stream.
            log.exception("a control request failed", path=request.path)
            return _error(500, "internal", f"{type(error).__name__}: {error}")

    return errors


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json", status=status)


def _error(status: int, code: str, message: str, config: ConfigError | None = None) -> web.Response:
    error: dict[str, Any] = {"code": code, "message": message}
    if config is not None:
        error["problems"] = config.problems
    return _json({"error": error}, status)
