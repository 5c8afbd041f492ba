"""Sending to a daemon that is busy, gone, or says no."""

from __future__ import annotations

from typing import Any

import pytest

from cdpd.bring.batch import Item, Known, decode_batch
from cdpd.bring.sending import PATIENCE, Answer, Interrupted, NotTaken, Sender
from cdpd.control.client import ControlRefused, NoAnswer, NotRunning

ITEMS = [Item(b'{"type":"track"}', Known("2024-03-01T10:00:00.000Z", "192.0.2.7")), Item(b"[1]")]


class Client:
    """Fails as often as it is told to."""

    def __init__(self, *failures: Exception, for_ever: Exception | None = None) -> None:
        self.failures = list(failures)
        self.for_ever = for_ever
        self.bodies: list[bytes] = []

    def call(self, name: str, body: bytes) -> dict[str, Any]:
        assert name == "POST /import"
        self.bodies.append(body)
        if self.failures:
            raise self.failures.pop(0)
        if self.for_ever is not None:
            raise self.for_ever
        return {"stored": 2, "rejected": 1}


class Rig:
    def __init__(self, client: Client, stop_after: int = 1000) -> None:
        self.slept: list[float] = []
        self.said: list[str] = []
        self.sender = Sender(
            client,  # type: ignore[arg-type]  # all that is used of it
            "website",
            sleep=self.slept.append,
            say=self.said.append,
            stop=lambda: len(self.slept) >= stop_after,
        )


def busy() -> ControlRefused:
    return ControlRefused("busy", "the hooks are 30,000 events behind", [])


def test_a_batch_arrives_as_it_was_sent() -> None:
    client = Client()
    assert Rig(client).sender.send(ITEMS) == Answer(2, 1)
    assert decode_batch(client.bodies[0]) == ("website", ITEMS)


@pytest.mark.parametrize("failure", [busy(), NotRunning("no daemon is running"), NoAnswer("no answer")])
def test_what_cannot_be_taken_now_is_tried_again_ever_less_often(failure: Exception) -> None:
    client = Client(*[failure] * 8)
    rig = Rig(client)
    assert rig.sender.send(ITEMS) == Answer(2, 1)
    assert rig.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert len(set(client.bodies)) == 1
    assert len(rig.said) == 4
    assert rig.said[0] == f"{failure}; trying again in 2 s"


def test_in_the_end_it_gives_up() -> None:
    rig = Rig(Client(for_ever=busy()))
    with pytest.raises(NotTaken, match=r"the hooks are 30,000 events behind \(waited 1\d\d s\)"):
        rig.sender.send(ITEMS)
    assert PATIENCE <= sum(rig.slept) < PATIENCE + 6


def test_a_refusal_is_final() -> None:
    rig = Rig(Client(ControlRefused("cannot", "there is no source 'website'", [])))
    with pytest.raises(NotTaken, match="no source"):
        rig.sender.send(ITEMS)
    assert not rig.slept


def test_waiting_can_be_stopped() -> None:
    rig = Rig(Client(for_ever=busy()), stop_after=2)
    with pytest.raises(Interrupted):
        rig.sender.send(ITEMS)
    assert len(rig.slept) == 2
