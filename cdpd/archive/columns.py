"""The columns of the archive's views; README.md beside this file is made of them.

python -m cdpd.archive.columns > cdpd/archive/README.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from msgspec import Struct


class Column(Struct, frozen=True):
    """A column of a view."""

    name: str
    type: str
    sql: str
    """What it is made of: an expression over the view's fields."""
    doc: str


class View(Struct, frozen=True, kw_only=True):
    """A stream, or some of its lines, as a table."""

    name: str
    stream: str
    doc: str
    fields: dict[str, str] = {}
    """Keys of a stored line → the DuckDB type in which they are read; those that no column needs are left out."""
    columns: list[Column]
    only: str = ""
    """SQL of what holds for its lines; "": it has all."""
    source: str = ""
    """SQL of what its columns are taken from, instead of the stream's files: a query of other views."""


def _text(name: str, key: str, doc: str) -> Column:
    return Column(name, "VARCHAR", f'"{key}"', doc)


def _json(name: str, key: str, doc: str) -> Column:
    return Column(name, "JSON", f'"{key}"', doc)


def _time(name: str, key: str, doc: str) -> Column:
    # By way of TIMESTAMPTZ: a plain TIMESTAMP would pass over an offset such as +02:00.
    return Column(name, "TIMESTAMP", f"timezone('UTC', try_cast(\"{key}\" AS TIMESTAMPTZ))", doc)


def _sent(event: str) -> list[Column]:
    """Columns for what a client sent, as it sent it: `event` is the SQL of its JSON object."""
    names = [
        ("type", "type", "The call that the client named; NULL where the request's path says it."),
        ("event", "event", "A track's name."),
        ("name", "name", "A page's or screen's name."),
        ("user_id", "userId", "The user's id."),
        ("anonymous_id", "anonymousId", "The id before a login."),
    ]
    sections = [("properties", "The call's properties."), ("traits", "Traits of an identify or group call.")]
    sections.append(("context", "The call's context."))
    return [
        *(Column(name, "VARCHAR", f"{event}->>'$.{key}'", doc) for name, key, doc in names),
        *(Column(key, "JSON", f"{event}->'$.{key}'", doc) for key, doc in sections),
        Column("payload", "JSON", event, "The whole event as it was sent, write key removed."),
    ]


EVENTS: Final = View(
    name="events",
    stream="events",
    doc="The archive: each event as destinations get it, after the hooks.",
    only="\"type\" IS DISTINCT FROM 'set'",
    fields={
        **dict.fromkeys(
            ("messageId", "type", "event", "name", "category", "userId", "anonymousId", "groupId", "previousId",
             "projectId", "timestamp", "receivedAt", "sentAt", "originalTimestamp", "channel"),
            "VARCHAR",
        ),
        **dict.fromkeys(("properties", "traits", "context", "integrations"), "JSON"),
    },
    columns=[
        _text("message_id", "messageId", "Unique in its source."),
        _text("source", "projectId", "The source's name in the configuration."),
        _text("type", "type", "`identify`, `track`, `page`, `screen`, `group` or `alias`."),
        _text("event", "event", "A track's name."),
        _text("name", "name", "A page's or screen's name."),
        _text("category", "category", "A page's or screen's category."),
        _text("user_id", "userId", "The user's id."),
        _text("anonymous_id", "anonymousId", "The id before a login."),
        _text("group_id", "groupId", "A group call's group."),
        _text("previous_id", "previousId", "An alias's older id."),
        _time("timestamp", "timestamp", "When it happened, corrected for the client's clock."),
        _time("received_at", "receivedAt", "When it arrived here."),
        _time("sent_at", "sentAt", "When the client sent it, by its own clock."),
        _time("original_timestamp", "originalTimestamp", "When it happened, by the client's own clock."),
        _json("properties", "properties", "Of track, page and screen calls."),
        _json("traits", "traits", "Of identify and group calls."),
        _json("context", "context", "Library, page, device, ip, user agent …"),
        _json("integrations", "integrations", "Which destinations the client wanted."),
        _text("channel", "channel", "`server`, `browser` or `mobile`, where the client said so at the top level."),
    ],
)  # fmt: skip

RECEIVED: Final = View(
    name="received",
    stream="received",
    doc="Everything as it came in, before the hooks; kept for a week, unless configured otherwise.",
    fields={
        **dict.fromkeys(("receivedAt", "source", "messageId", "reject"), "VARCHAR"),
        **dict.fromkeys(("sentAt", "via", "event", "raw"), "JSON"),
        "retryOf": "UBIGINT",
    },
    columns=[
        _text("message_id", "messageId", "The client's, or made here."),
        _text("source", "source", "The source's name in the configuration."),
        _time("received_at", "receivedAt", "When it arrived."),
        Column("sent_at", "VARCHAR", "\"sentAt\"->>'$'", "The batch's own `sentAt`, as sent."),
        Column("path", "VARCHAR", "\"via\"->>'$.path'", "The request's path, e.g. `/v1/batch`."),
        Column("ip", "VARCHAR", "\"via\"->>'$.ip'", "The client's address."),
        Column("user_agent", "VARCHAR", "\"via\"->>'$.userAgent'", "The request's `User-Agent`."),
        Column("origin", "VARCHAR", "\"via\"->>'$.origin'", "The request's `Origin`."),
        Column(
            "retry",
            "BIGINT",
            "try_cast(\"via\"->>'$.retry' AS BIGINT)",
            "The client's own count of attempts.",
        ),
        Column(
            "retry_of", "UBIGINT", '"retryOf"', "The `received` offset that `cdpd discarded retry` repeated."
        ),
        _text("reject", "reject", "Why it could not be given to the hooks, e.g. `event_too_large`."),
        *_sent('"event"'),
        Column("raw", "VARCHAR", "\"raw\"->>'$'", "Its first kilobyte, where it could not be kept as JSON."),
    ],
)

DISCARDED: Final = View(
    name="discarded",
    stream="discarded",
    doc="What was turned away, with the reason; kept for 30 days, unless configured otherwise.",
    fields={
        **dict.fromkeys(("at", "by", "code", "message", "traceback"), "VARCHAR"),
        "received": "UBIGINT",
        "line": "JSON",
    },
    columns=[
        _time("discarded_at", "at", "When."),
        _text("discarded_by", "by", "The hook plugin, or `ingest`."),
        _text("code", "code", "The reason, e.g. `unknown_type`."),
        _text("message", "message", "The reason in words."),
        _text("traceback", "traceback", "Where a hook failed: its traceback."),
        Column("received", "UBIGINT", '"received"', "Its offset in the stream `received`."),
        Column("message_id", "VARCHAR", "\"line\"->>'$.messageId'", "The client's, or made at ingest."),
        Column("source", "VARCHAR", "\"line\"->>'$.source'", "The source's name in the configuration."),
        Column(
            "received_at", "TIMESTAMP", "timezone('UTC', try_cast(\"line\"->>'$.receivedAt' AS TIMESTAMPTZ))",
            "When it arrived.",
        ),
        *_sent("(\"line\"->'$.event')"),
    ],
)  # fmt: skip

SETS: Final = View(
    name="sets",
    stream="events",
    doc="Each `set` of an object as it came, the oldest first.",
    fields={
        **dict.fromkeys(("messageId", "type", "projectId", "collection", "id", "receivedAt"), "VARCHAR"),
        "properties": "JSON",
    },
    only="\"type\" = 'set'",
    columns=[
        _text("message_id", "messageId", "Made here."),
        _text("source", "projectId", "The source's name in the configuration."),
        _text("collection", "collection", "Which collection it is of, e.g. `rooms`."),
        _text("id", "id", "Unique in its collection."),
        _json("properties", "properties", "What was set this time."),
        _time("received_at", "receivedAt", "When it arrived here."),
    ],
)

_MERGED: Final = """
    WITH s AS (SELECT row_number() OVER () AS n, * FROM sets),
    pairs AS (
        SELECT source, collection, id, n, unnest(map_entries(properties::MAP(VARCHAR, JSON))) AS pair FROM s
    ),
    latest AS (
        SELECT source, collection, id, pair.key AS k, arg_max_null(pair.value, n) AS v, min(n) AS since
        FROM pairs GROUP BY ALL
    ),
    merged AS (
        SELECT source, collection, id,
            to_json(map(list(k ORDER BY since, k), list(v ORDER BY since, k))) AS properties
        FROM latest GROUP BY ALL
    )
    SELECT source, collection, id, coalesce(properties, '{}') AS properties, sets, first_at, received_at
    FROM (
        SELECT source, collection, id, count(*) AS sets, arg_min(received_at, n) AS first_at,
            arg_max(received_at, n) AS received_at
        FROM s GROUP BY ALL
    ) LEFT JOIN merged USING (source, collection, id)
"""
"""The log's order decides what is newest: DuckDB reads lines in it, and so numbers them."""

OBJECTS: Final = View(
    name="objects",
    stream="events",
    doc="Objects (`POST /v1/set`) as they are now: of each property the value that was set last.",
    source=_MERGED,
    columns=[
        _text("source", "source", "The source's name in the configuration."),
        _text("collection", "collection", "Which collection it is of, e.g. `rooms`."),
        _text("id", "id", "Unique in its collection."),
        _json("properties", "properties", "All that was ever set; one that was set to null is null."),
        Column("sets", "BIGINT", '"sets"', "How often it was set."),
        Column("first_received_at", "TIMESTAMP", '"first_at"', "When it was set first."),
        Column("received_at", "TIMESTAMP", '"received_at"', "When it was set last."),
    ],
)

VIEWS: Final = {view.name: view for view in (EVENTS, RECEIVED, DISCARDED, SETS, OBJECTS)}
"""A view that is made of others comes after them."""

_INTRO: Final = """\
# The archive as SQL tables

<!-- Generated: python -m cdpd.archive.columns > cdpd/archive/README.md -->

`cdpd query 'SQL'` asks five tables, in [DuckDB's SQL](https://duckdb.org/docs/stable/sql/introduction), with the
daemon running or not. They are views over the streams' own files: a query sees everything that was on disk when it
began, and nothing is imported or copied first.

    cdpd query 'select event, count(*) from events group by 1 order by 2 desc'
    cdpd query "select properties->>'$.plan' as plan, count(distinct user_id) from events group by 1"
    cdpd query "select code, count(*) from discarded where discarded_at > now()::timestamp - interval 1 day group by 1"
    cdpd query "select id, properties->>'$.beds' as beds from objects where collection = 'rooms'"

- Times are UTC. A value that is no time is NULL. So is a key that an event does not have.
- `->>'$.plan'` takes text out of a JSON column, `->'$.address'` JSON.
- JSON columns may write a number in another way (`1.10` as `1.1`); `cdpd log cat` prints the stored text.
- Deleted events are not there. Keys of an event's top level that are in no column are not shown; `cdpd log cat` has
  them.
- Objects (`POST /v1/set`) are no events. They stand in the stream `events`, but in the tables `sets` and `objects`
  alone.
- Nothing but these tables can be read, nothing can be written, and nothing is fetched from the network.
- A query first checks the files that it reads against their checksums, and stops at damage (exit code 1).
"""


def reference() -> str:
    """The whole text, Markdown."""
    return "\n".join([_INTRO, *(_section(view) for view in VIEWS.values())])


def _section(view: View) -> str:
    rows = [f"| `{column.name}` | {column.type} | {column.doc} |" for column in view.columns]
    return "\n".join(
        [f"## {view.name}", view.doc, "", "| column | type | |", "| --- | --- | --- |", *rows, ""]
    )


def help_lines() -> Iterator[str]:
    """The columns for a command's help: a line or more a table."""
    for view in VIEWS.values():
        yield f"{view.name}: {', '.join(column.name for column in view.columns)}."


if __name__ == "__main__":
    sys.stdout.write(reference())
