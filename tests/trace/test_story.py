"""The story of an event at every stage: waiting, turned away, archived, at destinations, and when little is kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cdpd.cli.trace_report import TraceReport
from cdpd.config.data_folder import state_db, stream_folder
from cdpd.log.segment import segment_bases, segment_path
from cdpd.trace.lookup import OsFiles
from tests.stored import AT_MS, discarded, received
from tests.trace.rig import CONFIG, Folder, attempt, parked


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def archived(number: int, **changes: object) -> dict[str, object]:
    """The line of `events` that the hooks of CONFIG make of `received(number)`."""
    time = "2026-01-31T12:00:01.000Z"
    line = {
        "type": "track",
        "event": "Signed Up",
        "userId": f"u{number}",
        "properties": {"plan": "pro"},
        "messageId": f"m{number}",
        "projectId": "website",
        "originalTimestamp": time,
        "timestamp": time,
        "receivedAt": time,
        "version": 2,
        "context": {"ip": "203.0.113.9"},
    }
    return line | changes


def stored(folder: Folder, count: int = 3, **changes: object) -> None:
    """So many events that came in and are archived."""
    folder.append("received", [received(number) for number in range(count)])
    lines = [archived(number, **changes) for number in range(count)]
    folder.append("events", lines, origins=range(count), through=count)


# -- coming in ---------------------------------------------------------------------------------------------


def test_how_an_event_came_in_is_told(folder: Folder) -> None:
    via = {
        "path": "/v1/batch",
        "ip": "198.51.100.7",
        "userAgent": "curl/8",
        "origin": "https://a.example",
        "retry": 2,
    }
    inner = {
        "type": "track",
        "event": "E",
        "userId": "u9",
        "context": {"library": {"name": "x", "version": 1}},
    }
    line = received(1, via=via, sentAt="2026-01-31T12:00:00.400Z", event=inner, retryOf=17)
    folder.append("received", [received(0), line])
    receipt = folder.receipt("m1")
    assert (receipt.offset, receipt.source, receipt.fate, receipt.behind) == (1, "website", "waiting", 1)
    assert (receipt.path, receipt.ip, receipt.user_agent, receipt.origin, receipt.retry) == tuple(
        via.values()
    )
    assert (receipt.sdk, receipt.sent_at, receipt.retry_of) == ("x 1", "2026-01-31T12:00:00.400Z", 17)
    assert (receipt.at_ms, receipt.log_ms) == (AT_MS + 1000, AT_MS)
    assert (receipt.type, receipt.name, receipt.who) == ("track", "E", "u9")
    assert receipt.configuration == f"{folder.loaded.config_id:016x}"


def test_every_time_that_an_id_came_in_is_told(folder: Folder) -> None:
    folder.append("received", [received(1), received(2), received(1), received(1, source="app")])
    folder.append("events", [archived(1), archived(1, projectId="app")], origins=[0, 3], through=4)
    duplicate = discarded(2, by="dedup", code="duplicate", line=received(1))
    folder.append("discarded", [duplicate])
    receipts = folder.story("m1").receipts
    assert [(one.offset, one.fate) for one in receipts] == [
        (0, "archived"),
        (2, "discarded"),
        (3, "archived"),
    ]
    assert [one.offset for one in folder.story("m1", source="app").receipts] == [3]


def test_of_an_id_that_came_in_very_often_the_first_and_the_last_are_told(folder: Folder) -> None:
    count = 300
    folder.append("received", [received(1) for _ in range(count)])
    again = [discarded(n, by="dedup", code="duplicate", line=received(1)) for n in range(count) if n != 100]
    folder.append("discarded", again)
    folder.append("events", [archived(1)], origins=[100], through=count)
    story = folder.story("m1")
    assert [one.more for one in story.searched] == [count - 50, 0, count - 51]
    offsets = [one.offset for one in story.receipts]
    assert offsets == [*range(10), 100, *range(count - 40, count)]
    (told,) = [one for one in story.receipts if one.fate == "archived"]
    assert (told.offset, told.kept) == (100, True)
    assert f"{count - 50 + count - 51} lines more with this id" in TraceReport(story).text()


def test_an_unknown_id_has_a_story_of_where_was_looked(folder: Folder) -> None:
    stored(folder)
    folder.append("discarded", [discarded(9)])
    story = folder.story("nobody")
    assert not story.found
    assert [(one.stream, one.first, one.end, one.keep) for one in story.searched] == [
        ("received", 0, 3, "7d"),
        ("events", 0, 3, "forever"),
        ("discarded", 0, 1, "30d"),
    ]
    assert {one.from_ms for one in story.searched} == {one.to_ms for one in story.searched} == {AT_MS}


def test_only_what_came_in_at_that_time_is_looked_at(folder: Folder) -> None:
    for day in range(3):
        folder.append("received", [received(1)], at_ms=AT_MS + day * 86_400_000)
    middle = AT_MS + 86_400_000
    story = folder.story("m1", from_ms=middle - 3_600_000, to_ms=middle + 3_600_000)
    assert [one.offset for one in story.receipts] == [1]
    assert [one.offset for one in folder.story("m1", from_ms=middle).receipts] == [1, 2]
    assert [one.offset for one in folder.story("m1", to_ms=middle).receipts] == [0]


# -- hooks -------------------------------------------------------------------------------------------------


def test_what_each_hook_changed_is_told_and_that_it_is_what_is_stored(folder: Folder) -> None:
    stored(folder)
    hooks = folder.receipt("m1").hooks
    assert hooks is not None
    assert hooks.names == ["spec", "ip"]
    assert [step.hook for step in hooks.steps] == ["spec", "ip"]
    assert hooks.steps[1].changed == {"context": "+"}
    assert list(hooks.left_out) == ["dedup"]
    assert hooks.differs == {}


def test_that_the_hooks_make_something_else_of_it_today_is_told(folder: Folder) -> None:
    stored(folder, context={"ip": "203.0.113.0"}, plan=None)
    hooks = folder.receipt("m1").hooks
    assert hooks is not None
    assert hooks.differs == {"context.ip": "~", "plan": "-"}


def test_a_discarded_event_tells_who_turned_it_away_and_no_hook_after_that(folder: Folder) -> None:
    folder.append("received", [received(1), received(2)])
    folder.append(
        "discarded", [discarded(1, by="dedup", code="duplicate", message="it was", line=received(2))]
    )
    folder.append("events", [archived(1)], origins=[0], through=2)
    receipt = folder.receipt("m2")
    assert receipt.discarded is not None
    assert (receipt.discarded.by, receipt.discarded.code) == ("dedup", "duplicate")
    assert receipt.hooks is not None
    assert receipt.hooks.names == ["spec"]
    assert receipt.destinations == []


def test_a_discarded_event_whose_receipt_is_gone_is_told_from_what_discarded_keeps(folder: Folder) -> None:
    folder.append("discarded", [discarded(7, line=received(1, event={"type": "trak"}))])
    receipt = folder.receipt("m1")
    assert (receipt.offset, receipt.kept, receipt.ip) == (7, False, "203.0.113.9")
    assert receipt.hooks is not None
    assert (receipt.hooks.ended_by, receipt.hooks.ended_code) == ("spec", "unknown_type")


def test_an_archived_event_whose_receipt_is_gone_tells_what_the_archive_knows(folder: Folder) -> None:
    folder.append("events", [archived(1)], origins=[12], through=13)
    receipt = folder.receipt("m1")
    assert (receipt.fate, receipt.offset, receipt.kept) == ("archived", 12, False)
    assert (receipt.source, receipt.name, receipt.at_ms) == ("website", "Signed Up", AT_MS + 1000)
    assert receipt.hooks is not None
    assert "no longer in `received`" in receipt.hooks.problem
    assert [one.name for one in receipt.destinations] == ["hook", "app_only"]


def test_an_archive_without_origins_is_told_too(folder: Folder) -> None:
    folder.append("events", [archived(1)], through=5)
    assert folder.receipt("m1").offset is None


def test_an_event_that_left_no_trace_is_told_to_have_left_none(folder: Folder) -> None:
    folder.append("received", [received(1), received(2)])
    folder.append("events", [archived(2)], origins=[1], through=2)
    assert folder.receipt("m1").fate == "no trace"


def test_a_source_that_is_gone_keeps_the_rest_of_the_story(folder: Folder) -> None:
    folder.append("received", [received(1, source="old")])
    receipt = folder.receipt("m1")
    assert receipt.hooks is not None
    assert "'old' is not configured" in receipt.hooks.problem


def test_what_ingest_rejected_went_through_no_hook(folder: Folder) -> None:
    line = received(1, reject="event_too_large")
    folder.append("received", [line])
    folder.append("discarded", [discarded(0, by="ingest", code="event_too_large", line=line)])
    receipt = folder.receipt("m1")
    assert (receipt.reject, receipt.hooks) == ("event_too_large", None)


@pytest.mark.parametrize(
    "line",
    [
        b'{"messageId":"m1"}',
        b'{"messageId":"m1","via":7,"event":[1],"source":{"a":1},"receivedAt":5,"sentAt":{},"by":3}',
        b'{"messageId":"m1","via":{"ip":3,"retry":"x"},"event":{"context":7,"type":[],"event":{}},"source":"website"}',
        b'{"messageId":"m1","event":{"context":{"library":"x"}},"source":"website","receivedAt":"never"}',
    ],
)
def test_lines_of_any_form_have_a_story(folder: Folder, line: bytes) -> None:
    folder.append("received", [line])
    folder.append("events", [line], origins=[0], through=1)
    assert folder.receipt("m1").fate == "archived"


# -- destinations ------------------------------------------------------------------------------------------


def test_an_event_of_another_source_is_not_connected(folder: Folder) -> None:
    stored(folder)
    assert folder.at("app_only").state == "not connected"


def test_an_event_that_its_integrations_keep_away_is_filtered(folder: Folder) -> None:
    stored(folder, integrations={"All": False})
    told = folder.at("hook")
    assert (told.state, told.code) == ("filtered", "FILTERED_BY_INTEGRATIONS_OBJECT")
    assert "(its name in it: 'Webhook')" in told.text


def test_a_destination_that_has_not_come_to_it_tells_how_far_it_is(folder: Folder) -> None:
    stored(folder)
    assert folder.at("hook", "m2").state == "not begun"
    folder.state("hook", 0)
    told = folder.at("hook", "m2")
    assert (told.state, told.before_it, told.first_in_line) == ("waiting", 2, None)
    folder.state("hook", 0, attempts=[attempt("0-1", "retry", attempt=4)])
    told = folder.at("hook", "m2")
    assert told.first_in_line is not None
    assert (told.first_in_line.outcome, told.first_in_line.attempt) == ("retry", 4)


def test_a_delivered_event_tells_when_and_with_how_many_others(folder: Folder) -> None:
    stored(folder)
    tries = [attempt("0-3", "retry"), attempt("0-1,2-3"), attempt("1-2", attempt=2, answer="ok")]
    folder.state("hook", 3, attempts=tries)
    told = folder.at("hook", "m1")
    assert told.state == "delivered"
    assert [(one.outcome, one.attempt, one.events) for one in told.tries] == [
        ("retry", 1, 3),
        ("delivered", 2, 1),
    ]
    assert (told.tries[1].status, told.tries[1].seconds, told.tries[1].answer) == (200, 0.035, "ok")


def test_what_is_finished_above_the_low_water_mark_is_no_longer_waited_for(folder: Folder) -> None:
    stored(folder)
    folder.state("hook", 0, (2, 3), attempts=[attempt("2-3")])
    assert folder.at("hook", "m2").state == "delivered"
    assert folder.at("hook", "m1").state == "waiting"


def test_an_event_that_is_tried_again_tells_by_when(folder: Folder) -> None:
    stored(folder)
    folder.state("hook", 0, attempts=[attempt("0-3", "retry", attempt=3)])
    told = folder.at("hook", "m1")
    assert (told.state, told.next_ms) == ("retrying", AT_MS + 1000 + 35 + 6000)
    folder.state("hook", 0, attempts=[attempt("0-3", "bad_credentials")])
    assert folder.at("hook", "m1").next_ms == AT_MS + 1000 + 35 + 300_000


def test_a_parked_event_tells_why_and_where(folder: Folder) -> None:
    stored(folder)
    refused = attempt("1-2", "bad_event", status=422, reason="no property plan")
    folder.state("hook", 3, attempts=[refused], parked=[parked(1, "m1")])
    told = folder.at("hook", "m1")
    assert (told.state, told.parked and told.parked.reason) == ("parked", "no property plan")
    with sqlite3.connect(state_db(folder.data_dir)) as db:
        db.execute("delete from parked")
    assert folder.at("hook", "m1").state == "refused"


def test_a_replay_is_told_as_one(folder: Folder) -> None:
    stored(folder)
    folder.state("hook", 3, attempts=[attempt("0-3"), attempt("1-2", at_ms=AT_MS + 9000)])
    with sqlite3.connect(state_db(folder.data_dir)) as db:
        db.execute("update attempts set job = 'replay-7' where at_ms = ?", (AT_MS + 9000,))
    assert [one.job for one in folder.at("hook", "m1").tries] == ["", "replay-7"]


def test_delivered_without_a_journal_is_not_taken_for_passed_over(folder: Folder) -> None:
    stored(folder)
    folder.state("hook", 3, attempts=[attempt("2-3")])
    assert folder.at("hook", "m1").state == "passed over", "the journal is whole, and nothing was tried"
    with sqlite3.connect(state_db(folder.data_dir)) as db:
        db.execute("update attempts set id = 500")
    told = folder.at("hook", "m1")
    assert (told.state, told.text) == ("done", "the journal does not go back that far")


def test_a_destination_that_is_not_configured_any_more_is_told_where_it_had_the_event(folder: Folder) -> None:
    stored(folder)
    folder.state("gone", 2, attempts=[attempt("1-2")])
    told = folder.at("gone", "m1")
    assert (told.state, told.text) == ("delivered", "it is not configured any more")
    assert "gone" not in [one.name for one in folder.receipt("m2").destinations]


def test_what_holds_a_destination_is_told(folder: Folder, tmp_path: Path) -> None:
    stored(folder)
    folder.state("hook", 0)
    with sqlite3.connect(state_db(folder.data_dir)) as db:
        db.execute("insert into paused values ('hook', 5, 'audit')")
    assert folder.at("hook").text == "the destination was paused by hand: audit"
    with sqlite3.connect(state_db(folder.data_dir)) as db:
        db.execute("delete from paused")
    folder.config.write_text(CONFIG.replace('url = "http', 'enabled = false\nurl = "http'))
    assert folder.at("hook").text == "the destination is disabled"


def test_a_rule_that_came_after_the_delivery_does_not_hide_it(folder: Folder) -> None:
    stored(folder)
    folder.state("app_only", 3, attempts=[attempt("1-2")])
    assert folder.at("app_only", "m1").state == "delivered"


def test_a_state_that_cannot_be_read_leaves_the_rest_of_the_story(folder: Folder) -> None:
    stored(folder)
    state_db(folder.data_dir).write_bytes(b"no database, but long enough to be looked at" * 100)
    story = folder.story("m1")
    assert story.receipts[0].fate == "archived"
    assert "is not known" in story.notes[0]


def test_an_event_in_a_damaged_place_is_told_not_to_have_been_looked_at(folder: Folder) -> None:
    stored(folder)
    events = stream_folder(folder.data_dir, "events")
    path = segment_path(events, segment_bases(OsFiles(), events)[0])
    content = bytearray(path.read_bytes())
    at = content.rfind(b"\x28\xb5\x2f\xfd")
    content[at : at + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    story = folder.story("m1")
    assert story.receipts[0].fate == "no trace"
    (told,) = [one.unread for one in story.searched if one.stream == "events"]
    assert told


FILTERED = CONFIG.replace(
    'url = "http://127.0.0.1:1/"',
    """url = "http://127.0.0.1:1/"
[[destinations.hook.filters]]
if = 'event = "Signed Up"'
title = "no sign-ups"
actions = [{ %s }]
""",
)


def test_a_filter_that_keeps_it_back_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path, FILTERED % 'type = "drop"')
    stored(folder)
    told = folder.at("hook")
    assert (told.state, told.code) == ("filtered", "FILTERED_BY_RULES")
    assert told.text == "the filter 'no sign-ups' keeps it back"
    folder.state("hook", 3, attempts=[attempt("1-2")])
    told = folder.at("hook")
    assert told.state == "delivered"
    assert told.text == "today it would not be sent there: the filter 'no sign-ups' keeps it back"


def test_an_event_that_may_be_in_a_sample_waits_until_the_destination_has_decided(tmp_path: Path) -> None:
    folder = Folder(tmp_path, FILTERED % 'type = "sample", percent = 0.5')
    stored(folder)
    folder.state("hook", 0)
    assert folder.at("hook").state == "waiting"
    folder.state("hook", 3, attempts=[attempt("2-3")])
    told = folder.at("hook", "m1")
    assert (told.state, told.code) == ("filtered", "FILTERED_BY_RULES")
    assert "lets a sample through; it was not in it" in told.text
    assert folder.at("hook", "m2").state == "delivered"


def test_what_the_browser_delivered_itself_is_not_sent_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    stored(folder, _metadata={"bundled": ["Webhook", "Webhooks"]})
    told = folder.at("hook")
    assert (told.state, told.code) == ("filtered", "MESSAGE_SENT_CLIENT_SIDE")
