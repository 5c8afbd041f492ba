"""How failures of others' code are told: by kind and place, never by their own text."""

from __future__ import annotations

import errno
import json

import pytest

from cdpd.foreign import kind, trace


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        try:
            if cause is not None:
                raise cause
        except BaseException as before:
            raise error from before
        raise error
    except BaseException as caught:  # noqa: BLE001 - it is what is asked for
        return caught


def test_the_kind_names_the_place() -> None:
    told = kind(raised(KeyError("jane@example.com")))
    assert told.startswith("KeyError (test_foreign.py:")
    assert told.endswith(", raised)")
    assert kind(ValueError("never raised")) == "ValueError"
    assert kind(None) == "nothing"


def test_the_trace_has_every_frame_and_no_text() -> None:
    text = trace(raised(ValueError("jane"), KeyError("jane")))
    assert text.count("Traceback (most recent call last):") == 2
    lines = text.splitlines()
    assert lines.index("KeyError") < lines.index("That led to:") < lines.index("ValueError")
    assert 'test_foreign.py", line' in text
    assert "jane" not in text


def test_what_happened_meanwhile_is_told_too() -> None:
    try:
        try:
            json.loads('{"jane"')
        except json.JSONDecodeError:
            {}["jane" + ""]
    except KeyError as error:
        text = trace(error)
    assert "json.decoder.JSONDecodeError" in text
    assert "While that was handled:" in text


def test_the_systems_own_words_are_told() -> None:
    text = trace(raised(OSError(errno.ENOSPC, "jane", "/jane")))
    assert text.splitlines()[-1] == "OSError: No space left on device"
    assert "jane" not in text


def test_a_group_shows_each_of_its_members() -> None:
    group = raised(ExceptionGroup("jane", [raised(KeyError("jane")), ValueError("jane")]))
    text = trace(group)
    assert "ExceptionGroup" in text
    assert "  | KeyError" in text
    assert "  | ValueError" in text
    assert "jane" not in text
    assert kind(raised(ExceptionGroup("one", [raised(KeyError("jane"))]))).startswith("KeyError (")


def test_exceptions_that_lead_to_each_other_come_to_an_end() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert trace(one).splitlines() == ["KeyError", "", "That led to:", "", "ValueError"]


@pytest.mark.parametrize("text", ["", "\udcff"])
def test_odd_texts_do_no_harm(text: str) -> None:
    assert trace(ValueError(text)) == "ValueError"
