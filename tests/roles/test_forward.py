"""Every call of the control API has a process that answers it."""

from __future__ import annotations

from pathlib import Path

import structlog

from cdpd.config.data_folder import make_data_folder
from cdpd.config.load import load
from cdpd.config.roles import ROLES
from cdpd.listeners import Listeners
from cdpd.logs import Threshold
from cdpd.parts.running import Running
from cdpd.roles.forward import ANSWERED_BY
from tests.clock import FakeClock


async def test_what_parts_answer_is_passed_on_to_the_process_that_has_the_part(tmp_path: Path) -> None:
    (tmp_path / "cdpd.toml").write_text('[sources.website]\nwrite_keys = ["wk_forward_website"]\n')
    (tmp_path / "cdpd.toml").chmod(0o600)
    loaded = load(tmp_path / "cdpd.toml", tmp_path / "data")
    make_data_folder(loaded.data_dir)
    opening = Running.open(
        loaded, ROLES, Listeners(), lambda: None, FakeClock(), structlog.get_logger(), Threshold("error")
    )
    async with opening as running:
        assert {name: part.role for part in running.parts for name in part.calls()} == ANSWERED_BY
