"""The tables of state.db, and how an older file gets them."""

from __future__ import annotations

from typing import Final

_FIRST: Final = """
create table cursors (
    destination text primary key,
    cursor text not null,          -- cdpd/delivery/cursor.py
    at_ms integer not null
) without rowid;
create table parked (
    id integer primary key,
    destination text not null,
    position text not null,        -- of the event's line in `events`
    line_offset integer not null,
    message_id text not null,
    line blob not null,            -- the event itself
    reason text not null,
    status integer,
    request text not null,         -- secrets masked
    answer text not null,          -- secrets masked
    at_ms integer not null,
    unique (destination, position)
);
create table attempts (
    id integer primary key,
    destination text not null,
    attempt integer not null,      -- 1 for the first try of these events
    at_ms integer not null,
    seconds real not null,
    events integer not null,
    bytes integer not null,
    first_offset integer not null,
    last_offset integer not null,
    offsets text not null,         -- "120-130,141-142", ends excluded
    outcome text not null,
    status integer,
    reason text not null
);
create index attempts_by_offset on attempts (destination, first_offset);
"""
_SECOND: Final = """
alter table parked rename to parked_before;
create table parked (
    id integer primary key autoincrement,   -- never another event's: people name them
    destination text not null,
    position text not null,        -- of the event's line in `events`
    line_offset integer not null,
    message_id text not null,
    source text not null,          -- the event's `projectId`
    event text not null,           -- of a track its name, else its type
    line blob not null,            -- the event itself
    reason text not null,
    status integer,
    request text not null,         -- secrets masked
    answer text not null,          -- secrets masked
    at_ms integer not null,        -- when it was parked
    tried_ms integer not null,     -- when it was refused last
    attempts integer not null default 1,    -- how often it was refused
    unique (destination, position)
);
insert into parked select id, destination, position, line_offset, message_id, '', '', line, reason, status, request,
    answer, at_ms, at_ms, 1 from parked_before;
drop table parked_before;
update parked set
    source = coalesce(cast(json_extract(cast(line as text), '$.projectId') as text), ''),
    event = coalesce(cast(json_extract(cast(line as text), '$.event') as text),
                     cast(json_extract(cast(line as text), '$.type') as text), '')
    where json_valid(cast(line as text));
create index parked_by_time on parked (destination, at_ms);
create index parked_by_place on parked (destination, line_offset);
create table parked_counts (       -- kept by the triggers: to count a million rows takes long
    destination text primary key,
    events integer not null
) without rowid;
insert into parked_counts select destination, count(*) from parked group by destination;
create trigger parked_in after insert on parked begin
    insert into parked_counts values (new.destination, 1)
        on conflict (destination) do update set events = events + 1;
end;
create trigger parked_out after delete on parked begin
    update parked_counts set events = events - 1 where destination = old.destination;
    delete from parked_counts where destination = old.destination and events = 0;
end;
create table parked_notices (      -- what was said of parked events that will expire: cdpd/delivery/expiry.py
    destination text primary key,
    due_ms integer not null,       -- those parked before this may go
    told_ms integer not null,
    told_to_ms integer not null    -- those parked before this were named then
) without rowid;
alter table attempts add column job text not null default '';     -- of a replay or a retry of parked events
alter table attempts add column answer text not null default '';  -- its beginning, secrets masked
drop index attempts_by_offset;     -- an event is looked for among rows that begin near before it, and wide ones
create index attempts_by_offset on attempts (destination, first_offset, last_offset);
create index attempts_wide on attempts (destination, first_offset, last_offset)
    where last_offset - first_offset >= 20000;
create table paused (              -- by hand: cdpd/delivery/paused.py
    destination text primary key,
    at_ms integer not null,
    reason text not null
) without rowid;
create table jobs (                -- replays, and retries of parked events: cdpd/delivery/jobs_table.py
    number integer primary key,
    id text not null unique,       -- "replay-7"
    destination text not null,
    kind text not null,            -- "replay", "retry"
    spec text not null,            -- what was asked for, JSON
    cursor text not null,          -- cdpd/delivery/cursor.py
    state text not null,           -- "running", "done", "cancelled", "failed"
    counts text not null,          -- JSON
    problem text not null,         -- why it failed
    began_ms integer not null,
    changed_ms integer not null
);
create table alerts (
    name text not null,            -- [alerts.NAME]
    subject text not null,         -- the destination or source that it is about; "" for the disk
    state text not null,           -- JSON: cdpd/alerts/judging.py
    primary key (name, subject)
) without rowid;
create table alert_messages (      -- those that are not delivered yet
    id integer primary key,
    channel text not null,         -- "to NAME", or "webhook of NAME"
    message text not null          -- JSON: cdpd/alerts/message.py
);
create table alert_counts (        -- events, for as long as an alert looks back
    what text not null,            -- "received", "discarded", "delivered", "parked"
    name text not null,            -- of the source or destination
    slot integer not null,         -- times 5 minutes since the epoch
    events integer not null,
    primary key (what, name, slot)
) without rowid;
create table alert_places (        -- how far a stream is counted, and since when
    name text primary key,
    position text not null,
    since_ms integer not null,
    at_ms integer not null
) without rowid;
"""
STEPS: Final = (_FIRST, _SECOND)
"""From version 0 to 1, from 1 to 2."""
