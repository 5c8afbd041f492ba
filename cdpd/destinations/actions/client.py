"""Requests of a destination made of actions: bodies encoded, credentials added, what went out kept for whoever asks."""

from __future__ import annotations

import base64
import gzip as gzip_
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import anyio.to_thread
import msgspec
from msgspec import UNSET, Struct

from cdpd.destinations.actions.encode import to_form, to_json
from cdpd.destinations.answers import Answer
from cdpd.destinations.contract import DestinationEnv
from cdpd.destinations.exchange import send, shown_request, shown_url
from cdpd.secret import HIDDEN

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded;charset=UTF-8"
_GZIP_FROM: Final = 2048
"""Bytes; smaller bodies are not worth compressing (spec/destinations.md §0.3)."""


class Request(Struct, frozen=True):
    """A request as it goes out, before compression."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    gzip: bool = False
    """Whether the vendor takes the body compressed."""

    @property
    def shown(self) -> dict[str, object]:
        """For people: the body decoded, nothing secret in headers and address."""
        shown: dict[str, object] = {"method": self.method, "url": shown_url(self.url)}
        shown["headers"] = {
            name: value if name.lower() == "content-type" else HIDDEN for name, value in self.headers.items()
        }
        try:
            shown["json"] = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            form = {name.lower(): value for name, value in self.headers.items()}.get("content-type") == FORM
            text = self.body.decode(errors="replace")
            shown |= {"form": dict(parse_qsl(text, keep_blank_values=True))} if form else {"text": text}
        return shown


Transport = Callable[[Request], Awaitable[Answer]]
"""Makes a request, returns the vendor's answer. May raise what aiohttp raises."""


class Authorization(Protocol):
    """Credentials that may have to be fetched, such as OAuth 2's."""

    async def header(self, *, anew: bool) -> str:
        """The value of `Authorization`; `anew`: the last one was refused. May raise."""
        ...


class Client:
    """Sends requests for a destination. `transport`: how; replaced where nothing is to be sent."""

    def __init__(self, env: DestinationEnv) -> None:
        self.authorization: Authorization | None = None
        """Added to every request that names no `Authorization` of its own; refused once, it is fetched anew."""
        self.transport: Transport = self._over_http
        self._env = env

    async def send(
        self,
        method: str,
        url: str,
        *,
        json: Any = UNSET,
        form: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        basic: tuple[str, str] | None = None,
        gzip: bool = False,
    ) -> Answer:
        """Make a request and read the answer.

        One of: `json`, any value (JavaScript's numbers); `form`, name → text, other values as JSON text; `body`, as
        it is. `basic`: user and password. `gzip`: compress what is worth it.
        """
        own = dict(headers or {})
        given = {name.lower() for name in own}
        if json is not UNSET:
            body = to_json(json)
            own.update({} if "content-type" in given else {"Content-Type": JSON})
        elif form is not None:
            texts = {k: v if isinstance(v, str) else to_json(v).decode() for k, v in form.items()}
            body = to_form(texts)
            own.update({} if "content-type" in given else {"Content-Type": FORM})
        if basic is not None:
            own["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        fetched = None if basic is not None or "authorization" in given else self.authorization
        if fetched is None:
            return await self._send(Request(method, url, own, body or b"", gzip))
        for anew in (False, True):
            own["Authorization"] = await fetched.header(anew=anew)
            answer = await self._send(Request(method, url, dict(own), body or b"", gzip))
            if answer.status != 401:
                break
        return answer

    async def _send(self, request: Request) -> Answer:
        answer = await self.transport(request)
        shown = shown_request(request.method, request.url, request.headers, request.body)
        return msgspec.structs.replace(answer, request=shown)

    async def _over_http(self, request: Request) -> Answer:
        body, headers = request.body, dict(request.headers)
        if request.gzip and len(body) >= _GZIP_FROM:
            body = await anyio.to_thread.run_sync(lambda: gzip_.compress(request.body, 5, mtime=0))
            headers["Content-Encoding"] = "gzip"
        return await send(self._env.http, request.method, request.url, data=body, headers=headers)


class Nobody:
    """Credentials where nothing is sent."""

    async def header(self, *, anew: bool) -> str:  # noqa: ARG002 - as an Authorization
        return HIDDEN


class Recorder:
    """A transport that sends nothing: it keeps each request, and answers them all alike."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.requests: list[Request] = []
        self._answer = answer or Answer(200, {}, "{}")

    async def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        return self._answer
