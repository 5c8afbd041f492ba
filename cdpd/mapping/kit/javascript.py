"""How JavaScript sees JSON values: what is falsy, and what they are as text. The directives' rules need it."""

from __future__ import annotations

import json
import math
from typing import Any

from cdpd.mapping.kit.nothing import NOTHING
from cdpd.mapping.number_text import number_text


def truthy(value: Any) -> bool:
    """False for null, nothing, false, 0 and "" alone; empty objects and lists are true."""
    return bool(value) or isinstance(value, list | dict)


def text_of(value: Any) -> str:
    """`String(value)`, where null and nothing are empty: lists joined by commas, an object `[object Object]`."""
    if isinstance(value, str):
        return value
    if value is None or value is NOTHING:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, list):
        return ",".join(map(text_of, value))
    return "[object Object]"


def utf16_length(text: str) -> int:
    """`text.length`: UTF-16 code units, two for a character outside the basic plane."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def json_text(value: Any) -> str:
    """`JSON.stringify(value)`: compact, `10.0` as 10, infinity as null."""
    return json.dumps(_as_json(value), ensure_ascii=False, separators=(",", ":"))


def _as_json(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return value
