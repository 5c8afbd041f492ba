"""Keys of older client libraries → today's, each only where today's is absent. Source: event-spec.md §10 step 5."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

LEGACY: Final = frozenset(("options", "sessionId", "from", "to"))

_NULL: Final = Raw(b"null")
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def replace_legacy(kind: str, fields: dict[str, Raw]) -> None:
    """Rename the keys in place; each stands where the old one stood. `kind` is the event's type."""
    _providers(fields)
    renamed = {"sessionId": "anonymousId"}
    if bytes(fields.get("options", _NULL))[:1] == b"{":
        renamed["options"] = "context"
    if kind == "alias":
        renamed |= {"from": "previousId", "to": "userId"}
    renamed = {old: new for old, new in renamed.items() if old in fields and fields.get(new, _NULL) == _NULL}
    if not renamed:
        return
    replaced = set(renamed.values())
    items = list(fields.items())
    fields.clear()
    for key, value in items:
        if key in renamed:
            fields[renamed[key]] = value
        elif key not in replaced:  # else it was null
            fields[key] = value


def _providers(fields: dict[str, Raw]) -> None:
    """`options.providers` → `integrations`."""
    options = fields.get("options", _NULL)
    if bytes(options)[:1] != b"{" or fields.get("integrations", _NULL) != _NULL:
        return
    inner = _decode_fields(options)
    providers = inner.pop("providers", None)
    if providers is not None:
        fields["integrations"] = providers
        fields["options"] = Raw(_encode(inner))
