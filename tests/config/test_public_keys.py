"""Public keys of apps: which are taken, and what `cdpd check` says of those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cdpd.config.load import load
from cdpd.config.problem import ConfigError
from cdpd.config.public_keys import parse_public_key

from .catalogue import FakeCatalogue

PRIVATE = rsa.generate_private_key(65537, 2048)
SPKI = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PKCS1 = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
SSH = PRIVATE.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
Made = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def public(key: Made) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("text", [SPKI, PKCS1, b"\n  " + SPKI, b"a comment\n" + SPKI + b"more"])
def test_an_rsa_key_in_pem_is_read(text: bytes) -> None:
    assert parse_public_key(text).public_numbers() == PRIVATE.public_key().public_numbers()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "a private key, which only",
        ),
        (
            PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
            "openssl pkey -in PRIVATE.pem -pubout",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "openssl x509 -in FILE -noout -pubkey",
        ),
        (SSH, "ssh-keygen -e -m PKCS8"),
        (public(rsa.generate_private_key(65537, 1024)), "has 1024 bits"),
        (public(ec.generate_private_key(ec.SECP256R1())), "of the kind EC"),
        (public(ed25519.Ed25519PrivateKey.generate()), "of the kind Ed25519"),
        (b"", "no public key in PEM"),
        (b"\xff\x00" * 50, "no public key in PEM"),
        (SPKI[:200] + SPKI[230:], "damaged"),
    ],
)
def test_anything_else_is_named_with_the_way_out(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_public_key(text)


def faults(folder: Path, keys: str) -> list[str]:
    text = f'[sources.server]\nwrite_keys = ["wk_server_4f1c"]\noauth = ["billing"]\n[oauth.billing]\nkeys = [{keys}]\n'
    (folder / "cdpd.toml").write_text(text)
    try:
        load(folder / "cdpd.toml", catalogue=FakeCatalogue(), environ={})
    except ConfigError as error:
        return [str(problem).replace(f"{folder}/", "") for problem in error.problems]
    return []


def test_a_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "public.pem").write_bytes(SPKI)
    assert faults(tmp_path, '{ kid = "a", file = "public.pem" }') == []
    config = load(tmp_path / "cdpd.toml", catalogue=FakeCatalogue(), environ={}).config
    assert config.oauth["billing"].keys[0].file == str(tmp_path / "public.pem")


def test_every_key_that_cannot_be_used_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "short.pem").write_bytes(public(rsa.generate_private_key(65537, 1024)))
    keys = (
        '{ kid = "a", file = "none.pem" }, { kid = "b", file = "short.pem" }, { kid = "c", file = "." }, '
        '{ kid = "d", pem = "x" }'
    )
    assert faults(tmp_path, keys) == [
        "cdpd.toml:5:29: oauth.billing.keys[0].file: none.pem cannot be read: no such file or directory",
        "cdpd.toml:5:63: oauth.billing.keys[1].file: short.pem: this key has 1024 bits: RSA keys of 2048 bits or "
        "more are safe",
        "cdpd.toml:5:98: oauth.billing.keys[2].file: "
        + f"{tmp_path} cannot be read: is a directory".replace(f"{tmp_path}/", ""),
        "cdpd.toml:5:124: oauth.billing.keys[3].pem: this is no public key in PEM, which begins -----BEGIN PUBLIC "
        "KEY-----; `openssl pkey -in PRIVATE.pem -pubout` prints the public key of a private one",
    ]


@pytest.mark.parametrize(
    "keys", ['"x"', '{ kid = "a", file = 7 }', '{ kid = "a", pem = [] }', '{ kid = "a" }']
)
def test_wrong_types_are_told_once(tmp_path: Path, keys: str) -> None:
    assert len(faults(tmp_path, keys)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[http]\npublic_url = "https://a.example"\n[oauth.crm]\n', "oauth.crm: no source takes the tokens"),
        ('[http]\nlisten = ":8080"\n[oauth.billing]\n', "by which name others reach this daemon is not set"),
        ('[oauth.billing]\n[sources.web]\ntype = "javascript"\nwrite_keys = ["wk_web_1234"]\noauth = ["billing"]\n',
         "sources.web.oauth: tokens take a private key"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_warned_of(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "public.pem").write_bytes(SPKI)
    name = "crm" if "crm" in text else "billing"
    text = text.replace(f"[oauth.{name}]", f'[oauth.{name}]\nkeys = [{{ kid = "a", file = "public.pem" }}]')
    used = f"""
[sources.server]
write_keys = ["wk_server_4f1c"]
oauth = {'["billing"]' if name == "billing" else "[]"}
"""
    (tmp_path / "cdpd.toml").write_text(text + used)
    found = load(tmp_path / "cdpd.toml", catalogue=FakeCatalogue(), environ={}).warnings
    assert [str(problem) for problem in found if said in str(problem)] != []
