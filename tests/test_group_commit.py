"""SQLite files that grow new tables: an older file gets what it lacks, a newer one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.group_commit import open_database

FIRST = "create table a (x integer);"
SECOND = "alter table a add column y integer not null default 7;"


def test_an_older_file_is_brought_up_to_date_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    db, created = open_database(path, (FIRST,), OSError, "it begins anew")
    assert created
    db.execute("insert into a values (1)")
    db.close()
    db, created = open_database(path, (FIRST, SECOND), OSError, "it begins anew")
    assert not created
    assert db.execute("select x, y from a").fetchall() == [(1, 7)]
    db.close()
    db, created = open_database(path, (FIRST, SECOND), OSError, "it begins anew")
    assert db.execute("pragma user_version").fetchone() == (2,)
    db.close()


def test_a_newer_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    open_database(path, (FIRST, SECOND), OSError, "it begins anew")[0].close()
    with pytest.raises(OSError, match=r"newer cdpd.*version 2, this one knows 1.*upgrade"):
        open_database(path, (FIRST,), OSError, "it begins anew")


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    open_database(path, (FIRST,), OSError, "it begins anew")[0].close()
    with pytest.raises(OSError, match="cannot be used"):
        open_database(path, (FIRST, SECOND + " nonsense;"), OSError, "it begins anew")
    db, _ = open_database(path, (FIRST, SECOND), OSError, "it begins anew")
    assert [row[1] for row in db.execute("pragma table_info(a)")] == ["x", "y"]
    db.close()
