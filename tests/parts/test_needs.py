"""Who still needs the archive, as any process can tell from state.db: what is not known counts as needed."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from cdpd.config.load import LoadedConfig
from cdpd.config.model import Config
from cdpd.delivery.cursor import DeliveryCursor, Range
from cdpd.delivery.jobs_table import Job, put_job
from cdpd.delivery.replay import ReplaySpec
from cdpd.delivery.state import Moment, StateDb, StateError
from cdpd.delivery.stored import stored_cursors
from cdpd.event import BEGINNING, Position
from cdpd.parts.needs import destinations_need

CURSOR = DeliveryCursor(Position(5, 7), [Range(8, 9, 7)])
KILLED = """
import asyncio, os, sys
from pathlib import Path
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.state import Moment, StateDb

async def main():
    await StateDb(Path(sys.argv[1])).commit(Moment("d", DeliveryCursor.parse(sys.argv[2]), 1))
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def loaded(folder: Path, *destinations: str) -> LoadedConfig:
    return LoadedConfig(Config(destinations={name: {} for name in destinations}), 1, folder)


def test_without_state_db_everything_is_needed(tmp_path: Path) -> None:
    assert stored_cursors(tmp_path / "state.db") == {}
    assert destinations_need(loaded(tmp_path, "d")) == {"destination d": 0}
    assert list(tmp_path.iterdir()) == []


async def test_a_destination_needs_what_is_beyond_its_cursor_and_a_new_one_everything(tmp_path: Path) -> None:
    state = StateDb(tmp_path / "state.db")
    assert stored_cursors(state.path) == {}
    await state.commit(Moment("d", CURSOR, 1))
    await state.commit(Moment("gone", CURSOR, 1))
    assert destinations_need(loaded(tmp_path, "d", "new")) == {"destination d": 5, "destination new": 0}
    state.close()
    assert stored_cursors(state.path) == {"d": CURSOR, "gone": CURSOR}


async def test_a_replay_that_has_not_ended_needs_what_is_beyond_its_cursor(tmp_path: Path) -> None:
    state = StateDb(tmp_path / "state.db")
    for job_state in ("running", "done"):
        spec = ReplaySpec(BEGINNING, 9)
        job = Job(id="", destination="d", spec=spec, cursor=CURSOR, state=job_state)
        await state.change(partial(put_job, job=job))
    assert destinations_need(loaded(tmp_path)) == {"replay-1": 5}
    state.close()


def test_what_a_killed_process_has_committed_counts(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "state.db", str(CURSOR)], check=False)
    assert (tmp_path / "state.db-wal").exists()
    assert stored_cursors(tmp_path / "state.db") == {"d": CURSOR}


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b""])
def test_a_state_db_that_cannot_be_read_is_no_reason_to_remove_anything(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "state.db").write_bytes(content)
    if content:
        with pytest.raises(StateError, match="cannot be read"):
            destinations_need(loaded(tmp_path, "d"))
    else:
        assert destinations_need(loaded(tmp_path, "d")) == {"destination d": 0}


async def test_one_that_is_no_longer_configured_needs_nothing(tmp_path: Path) -> None:
    state = StateDb(tmp_path / "state.db")
    await state.commit(Moment("removed", CURSOR, 1))
    await state.commit(Moment("d", CURSOR, 1))
    assert destinations_need(loaded(tmp_path, "d")) == {"destination d": 5}
    state.close()
