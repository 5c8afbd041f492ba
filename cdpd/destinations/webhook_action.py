"""The webhook's action: any part of an event, in any form, to an address that may be another for every event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Struct

from cdpd.destinations.actions.action import Action, Batching
from cdpd.destinations.actions.encode import to_json
from cdpd.destinations.actions.mapped import Mapped
from cdpd.destinations.actions.trouble import PayloadValidationError
from cdpd.destinations.answers import Answer
from cdpd.destinations.webhook_rules import is_address, why_no_header

if TYPE_CHECKING:
    from cdpd.destinations.webhook import Webhook

MOST: Final = 4000
"""Elements of an array."""


class Payload(Struct, kw_only=True, frozen=True):
    """What is sent."""

    url: str
    """Where to: `https://…` (or `http://…`)."""
    method: Annotated[Literal["POST", "PUT", "PATCH"], Mapped("POST")] = "POST"
    """The request's method."""
    batch_size: Annotated[int, Mapped(1000)] = 1000
    """Events that share a request, as a JSON array, where so many are there; 0 or 1: a request for each."""
    headers: dict[str, Any] | None = None
    """Headers of the request."""
    data: Annotated[dict[str, Any] | None, Mapped({"@path": "$."})] = None
    """The body, or of several events each element of it. Default: the whole event."""


async def send(webhook: Webhook, payloads: Sequence[Payload]) -> Answer:
    """One request; an object for one payload, an array for several."""
    first = payloads[0]
    if not is_address(first.url):
        raise PayloadValidationError("url: an address like https://example.com/events is expected")
    headers = {"Content-Type": "application/json"}
    for name, value in (first.headers or {}).items():
        text = value if isinstance(value, str) else to_json(value).decode()
        problem = why_no_header(name, text)
        if problem:
            raise PayloadValidationError(f"headers: {problem}")
        headers = {key: other for key, other in headers.items() if key.lower() != name.lower()} | {name: text}
    texts = [to_json(payload.data) for payload in payloads]
    body = texts[0] if len(texts) == 1 else b"[" + b",".join(texts) + b"]"
    headers |= webhook.signatures(body, texts[0])
    return await webhook.call(first.method, first.url, body=body, headers=headers, gzip=webhook.config.gzip)


SEND: Final = Action(
    name="send",
    title="Send",
    doc="A request with what the mapping makes of the event.",
    payload=Payload,
    perform_batch=send,
    batching=Batching(
        MOST,
        max_bytes=4 * 1024 * 1024,
        keys=("url", "method", "headers", "batch_size"),
        limit=lambda payload: payload.batch_size,
    ),
)
