"""FQL, mappings and payload checks on one core: `python -m tests.bench.mapping [--short] [--rounds N] [--json]`.

The event is an “Order Completed” of about 1.3 KB. “Decoded” starts from plain dicts; “lazy” from an event's undecoded
fields, as delivery has it, and counts the decoding of what is read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from cdpd.event import Event
from cdpd.mapping.fql.filter import compile_filter
from cdpd.mapping.fql.trigger import compile_trigger
from cdpd.mapping.kit.coerce import check
from cdpd.mapping.kit.compile import compile_mapping
from cdpd.mapping.kit.field import Field
from cdpd.mapping.view import View
from tests.bench.pipeline import received_line
from tests.bench.report import Figure, figure, is_short, rounds, show

SIMPLE: Final = "type = 'track' and event = 'Order Completed'"
RICH: Final = (
    "type = 'track' and match(event, 'Order *') and properties.total > 20 "
    "and !contains(context.page.url, 'staging') and properties.currency in ['USD', 'EUR']"
)
MAPPING: Final[dict[str, Any]] = {
    "event": {"@path": "$.event"},
    "distinct_id": {
        "@if": {"exists": {"@path": "$.userId"}, "then": {"@path": "$.userId"}, "else": {"@path": "$.anonymousId"}}
    },
    "insert_id": {"@path": "$.messageId"},
    "time": {"@path": "$.timestamp"},
    "url": {"@path": "$.context.page.url"},
    "library": {"@template": "{{context.library.name}} {{context.library.version}}"},
    "currency": {"@path": "$.properties.currency"},
    "total": {"@path": "$.properties.total"},
    "coupon": {"@case": {"operator": "upper", "value": {"@path": "$.properties.coupon"}}},
    "items": {
        "@arrayPath": ["$.properties.products", {"id": {"@path": "$.product_id"}, "price": {"@path": "$.price"}}]
    },
}  # fmt: skip
FIELDS: Final = msgspec.convert(
    {
        "event": {"type": "string", "required": True},
        "distinct_id": {"type": "string"},
        "insert_id": {"type": "string"},
        "time": {"type": "datetime"},
        "url": {"type": "string"},
        "library": {"type": "string"},
        "currency": {"type": "string"},
        "total": {"type": "number"},
        "coupon": {"type": "string"},
        "items": {
            "type": "object",
            "multiple": True,
            "properties": {"id": {"type": "string"}, "price": {"type": "number"}},
        },
    },
    dict[str, Field],
)


def per_second(run: Callable[[Any], object], inputs: list[Any]) -> float:
    """Calls a second of CPU of `run`, over all inputs."""
    began = time.process_time()
    for one in inputs:
        run(one)
    return len(inputs) / max(time.process_time() - began, 1e-9)


def events(count: int) -> tuple[list[dict[str, Any]], list[Event]]:
    """(the same events decoded, and undecoded as delivery reads them)"""
    texts = [
        bytes(msgspec.json.decode(received_line(n), type=dict[str, msgspec.Raw])["event"])
        for n in range(count)
    ]
    return [msgspec.json.decode(text) for text in texts], [Event(text) for text in texts]


def measure(count: int, times: int) -> list[Figure]:
    simple, rich, trigger = compile_filter(SIMPLE), compile_filter(RICH), compile_trigger(SIMPLE)
    mapping = compile_mapping(MAPPING)

    def lazy(event: Event) -> object:
        view = View(event)
        return trigger.test(view.of(trigger.paths)) and mapping.resolve(view.of(mapping.paths))

    names = [
        ("FQL, two comparisons, decoded", simple.test, "events"),
        ("FQL, two comparisons, lazy", lambda event: simple.test(View(event).of(simple.paths)), "lazy"),
        ("FQL, five conditions, decoded", rich.test, "events"),
        ("trigger, two comparisons, decoded", trigger.test, "events"),
        ("mapping, ten fields, decoded", mapping.resolve, "events"),
        ("mapping, ten fields, with its check", lambda event: check(FIELDS, mapping.resolve(event)), "events"),
        ("trigger and mapping, lazy", lazy, "lazy"),
    ]  # fmt: skip
    values: dict[str, list[float]] = {name: [] for name, _, _ in names}
    for _ in range(times):
        decoded, undecoded = events(count)
        for name, run, kind in names:
            if kind == "lazy":  # each reads an event for the first time
                undecoded = events(count)[1]
            values[name].append(per_second(run, decoded if kind == "events" else undecoded))  # type: ignore[operator]
    goals = {"FQL, two comparisons, decoded": 400_000, "mapping, ten fields, decoded": 60_000}
    return [_figure(name, values[name], goals.get(name)) for name, _, _ in names]


def _figure(name: str, values: list[float], goal: int | None) -> Figure:
    if goal is None:
        return figure(name, "a second of CPU", values)
    return figure(name, "a second of CPU", values, goal=f"≥ {goal:,}", met=lambda found: found.median >= goal)


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    show(measure(500 if is_short() else 20_000, rounds()))


if __name__ == "__main__":
    main()
