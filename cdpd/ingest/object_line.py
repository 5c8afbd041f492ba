"""Lines of `received` for objects (`set` calls).

`{"receivedAt", "source", "messageId", "kind": "set", "via", "event": {"type": "set", "collection", "id",
"properties"}}`.
`kind` makes the line an object: what a client sends as an event of the type `set` is none.
"""

from __future__ import annotations

import uuid

from cdpd.ingest.line import Head


def object_line(head: Head, event: bytes, message_id: bytes | None = None) -> bytes:
    """`event`: of cdpd.objects.set_event; `message_id`: JSON text, made here where there is none."""
    own_id = message_id or b'"%b"' % str(uuid.uuid4()).encode()
    return b"".join(
        (
            b'{"receivedAt":',
            head.received_at,
            b',"source":',
            head.source,
            b',"messageId":',
            own_id,
            b',"kind":"set","via":',
            head.via,
            b',"event":',
            event,
            b"}",
        )
    )
