"""functions.db: the newest errors of each function for a while, and webhooks in the order in which they came."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.functions.kept import NEWEST, OLDEST_MS, FunctionsDb, KeptError, KeptWebhook


def error(function: str, at_ms: int) -> KeptError:
    return KeptError(function, at_ms, "failed", f"{at_ms}")


def test_the_newest_hundred_errors_of_each_function_are_kept_for_thirty_days(tmp_path: Path) -> None:
    db = FunctionsDb(tmp_path / "functions.db")
    now = 10 * OLDEST_MS
    db.keep_errors([error("other", now - OLDEST_MS - 1), error("other", now - OLDEST_MS)])
    for i in range(3):
        db.keep_errors([error("mine", now + i * 50 + j) for j in range(50)])
    kept = db.errors("mine")
    assert [one.at_ms for one in kept] == list(range(now + 50, now + 150))
    assert len(kept) == NEWEST
    assert db.errors("other") == []


def test_nothing_is_made_where_nothing_is_kept(tmp_path: Path) -> None:
    db = FunctionsDb(tmp_path / "functions.db")
    assert db.errors() == []
    assert db.due(10**15, 10) == []
    assert not db.path.exists()


def test_webhooks_come_when_they_are_due_oldest_first(tmp_path: Path) -> None:
    db = FunctionsDb(tmp_path / "functions.db")
    for token, next_ms in (("a", 300), ("b", 100), ("c", 200)):
        db.keep_webhook(KeptWebhook(token, "s", 1, b"{}", b"body", 1, next_ms))
    assert [one.token for one in db.due(250, 10)] == ["b", "c"]
    b, c = db.due(250, 10)
    db.put_off(b.id, 2, 1000)
    db.forget(c.id)
    assert db.due(999, 10) == db.due(300, 10)
    (again,) = (one for one in db.due(1000, 10) if one.token == "b")
    assert (again.tries, again.request, again.via) == (2, b"body", b"{}")
    assert db.waiting() == {"s": 2}


def test_a_file_that_is_no_database_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "functions.db").write_text("no database at all" * 100)
    with pytest.raises(OSError, match=r"functions\.db"):
        FunctionsDb(tmp_path / "functions.db").keep_errors([error("mine", 1)])
