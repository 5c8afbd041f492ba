"""What a supervisor hands over arrives whole, secrets too; elsewhere they still refuse to be copied."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path

import pytest

from cdpd.config.address import Listen
from cdpd.config.load import LoadedConfig, load
from cdpd.roles.order import Change, Inherited, Order, packed, receive
from tests.config.catalogue import FakeCatalogue

CONFIG = """
[sources.website]
write_keys = ["wk_order_website"]
[metrics]
token = "order-metrics-token"
"""


def loaded(folder: Path) -> LoadedConfig:
    path = folder / "cdpd.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return load(path, folder / "data", catalogue=FakeCatalogue(), environ={})


def test_an_order_and_then_a_change_arrive_as_they_were_sent(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    order = Order(
        ["ingest"], config, [Inherited(Listen("127.0.0.1", 80), [3, 4])], [5], True, ["accounts"], 60.0
    )
    change = Change(1, config)
    here, there = socket.socketpair()
    with here, there:
        here.sendall(packed(order) + packed(change))
        assert receive(there) == order
        got = receive(there)
        assert got == change
        assert got.loaded.config.metrics.token.reveal() == "order-metrics-token"
        here.close()
        assert receive(there) is None


def test_an_end_in_the_middle_is_an_end(tmp_path: Path) -> None:
    text = packed(Change(1, loaded(tmp_path)))
    here, there = socket.socketpair()
    with here, there:
        here.sendall(text[:-1])
        here.close()
        assert receive(there) is None


def test_a_secret_goes_no_other_way(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(loaded(tmp_path))
