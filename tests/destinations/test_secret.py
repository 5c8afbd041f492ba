"""Secrets: where they come from, and that nothing shows them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from cdpd.config.load import load
from cdpd.config.problem import ConfigError
from cdpd.delivery.mask import Mask
from cdpd.destinations.contract import Destination, DestinationConfig
from cdpd.secret import HIDDEN, Secret, resolve, secrets_in
from tests.config.catalogue import FakeCatalogue, FakeFound

HUSH = "hush-hush-hush"


def test_a_secret_never_prints() -> None:
    secret = Secret(HUSH)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r:>20}", "%s" % secret, repr([secret])]  # noqa: UP031
    assert not any(HUSH in text for text in shown)
    assert HIDDEN in str(secret)
    for leak in (msgspec.json.encode, pickle.dumps, copy.copy):
        with pytest.raises(TypeError) as caught:
            leak(secret)
        assert HUSH not in str(caught.value)
    assert secret.reveal() == HUSH


def test_equal_secrets_are_equal_so_that_a_reload_sees_a_change() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_where_a_secret_comes_from(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(f"{HUSH}\n")
    environ = {"TOKEN": "from-env", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert resolve("plain", environ) == Secret("plain")
    assert resolve({"env": "TOKEN"}, environ) == Secret("from-env")
    assert resolve({"file": str(tmp_path / "file")}, environ) == Secret(HUSH)
    assert resolve({"credential": "file"}, environ) == Secret(HUSH)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (7, "this is a secret: write"),
        ({}, "this is a secret: write"),
        ({"env": 7}, "this is a secret: write"),
        ({"env": "A", "file": "b"}, "this is a secret: write"),
        ({"vault": "x"}, "cannot come from 'vault'"),
        ({"env": "NOT_SET"}, "the environment variable NOT_SET is not set"),
        ({"file": "/no/such/file"}, "/no/such/file cannot be read: No such file"),
        ({"credential": "token"}, "systemd gave none"),
    ],
)
def test_a_secret_that_cannot_be_had_is_a_clear_error(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        resolve(value, {})


def test_a_credentials_name_cannot_leave_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name of a credential"):
        resolve({"credential": "../file"}, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_file_without_a_text_in_it_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"is empty|no UTF-8"):
        resolve({"file": str(tmp_path / "file")}, {})


class Vault(Destination):
    name = "Vault"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        token: Secret
        headers: dict[str, Secret] = msgspec.field(default_factory=dict)


class Catalogue(FakeCatalogue):
    def destinations(self) -> dict[str, FakeFound]:
        return {"vault": FakeFound(Vault)}


def test_in_the_configuration_it_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    path.write_text(
        '[sources.web]\nwrite_keys = ["wk_website_4f1c"]\n\n[destinations.vault]\ntoken = { env = "NOT_SET" }\n'
        '[destinations.vault.headers]\nA = { file = "/no/such" }\n'
    )
    with pytest.raises(ConfigError) as caught:
        load(path, catalogue=Catalogue(), environ={})
    first, second = map(str, caught.value.problems)
    assert ":5:9: destinations.vault.token: the environment variable NOT_SET is not set" in first
    assert ":7:5: destinations.vault.headers.A: the secret's file /no/such cannot be read" in second


def test_every_secret_of_a_config_is_found_and_masked() -> None:
    class Inner(Struct):
        key: Secret
        short: Secret

    class Outer(Struct):
        inner: Inner
        many: dict[str, Secret]
        some: list[Secret]

    config = Outer(
        Inner(Secret('a"b/c d'), Secret("abc")), {"x": Secret("Bearer t0ken&")}, [Secret("longer-t0ken&")]
    )
    assert {secret.reveal() for secret in secrets_in(config)} == {
        'a"b/c d',
        "abc",
        "Bearer t0ken&",
        "longer-t0ken&",
    }
    mask = Mask(secrets_in(config))
    text = 'a"b/c d | a\\"b/c d | a%22b%2Fc%20d | a%22b%2Fc+d | t0ken& | t0ken%26 | longer-t0ken& | abc'
    assert mask(text) == f"{HIDDEN} | {HIDDEN} | {HIDDEN} | {HIDDEN} | {HIDDEN} | {HIDDEN} | {HIDDEN} | abc"
    assert Mask([])("as it is") == "as it is"
