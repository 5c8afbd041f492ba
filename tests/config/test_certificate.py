"""The certificate of [http.tls]: what is wrong with it is told with file and line; a good one is read whole."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from cdpd.config.certificate import CertificateFiles, certificate_risk, configured_certificate, server_context
from cdpd.config.load import LoadedConfig, load
from cdpd.config.problem import ConfigError
from cdpd.config.shape import Fault
from tests.certificates import make_certificate

GOOD = '[sources.web]\nwrite_keys = ["wk_certificate_web"]\n[pipeline]\nhooks = ["spec"]\n'


def read(folder: Path, certificate: object, key: object, **environ: str) -> CertificateFiles | Fault | None:
    data = {"http": {"tls": {"certificate": certificate, "key": key}}}
    return configured_certificate(data, folder, environ)


def said(folder: Path, certificate: object, key: object, **environ: str) -> str:
    """option: message"""
    fault = read(folder, certificate, key, **environ)
    assert isinstance(fault, Fault), fault
    return f"{fault.path[-1]}: {fault.message}"


def configured(folder: Path, text: str) -> LoadedConfig:
    path = folder / "cdpd.toml"
    path.write_text(text)
    path.chmod(0o600)
    return load(path)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_certificate_and_its_key_are_read_whole_and_make_a_context(tmp_path: Path, kind: str) -> None:
    certificate, key = make_certificate(tmp_path, kind=kind)
    files = read(tmp_path, certificate.name, key.name)
    assert isinstance(files, CertificateFiles)
    assert (files.chain, files.key) == (certificate.read_bytes(), key.read_bytes())
    assert files.name == str(certificate)
    assert files.begins < time.time() < files.ends
    certificate.unlink()
    server_context(files)  # of what was read, not of what is there now
    assert "PRIVATE" not in repr(files)


def test_they_may_come_from_credentials_and_the_environment(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path), "TLS_KEY": key.read_text()}
    from_credential = read(tmp_path, {"credential": certificate.name}, {"credential": key.name}, **given)
    assert isinstance(from_credential, CertificateFiles)
    assert from_credential.name == "credential cdp.test.pem"
    from_environment = read(tmp_path, {"file": str(certificate)}, {"env": "TLS_KEY"}, **given)
    assert isinstance(from_environment, CertificateFiles)


def test_what_is_wrong_with_a_certificate_is_told_with_what_to_do(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    _, other = make_certificate(tmp_path, "other.test")
    _, rsa = make_certificate(tmp_path, "rsa.test", kind="rsa")
    _, locked = make_certificate(tmp_path, "locked.test", passphrase=b"x")
    (tmp_path / "empty.pem").touch()
    damaged = tmp_path / "damaged.pem"
    damaged.write_bytes(certificate.read_bytes().replace(b"M", b"!", 5))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(certificate.read_bytes() + damaged.read_bytes())
    broken = tmp_path / "broken.key"
    broken.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    c, k = str(certificate), str(key)
    assert said(tmp_path, "no.pem", k).endswith(
        f"{tmp_path / 'no.pem'} cannot be read: no such file or directory"
    )
    assert said(tmp_path, c, "no.key").startswith(f"key: {tmp_path / 'no.key'} cannot be read")
    assert said(tmp_path, "empty.pem", k).endswith("empty.pem is empty")
    assert "holds a private key" in said(tmp_path, k, k)
    assert "holds a certificate" in said(tmp_path, c, c)
    assert said(tmp_path, c, str(other)) == f"key: {other} is not the key of the certificate {certificate}"
    assert said(tmp_path, c, str(rsa)) == f"key: {rsa} is not the key of the certificate {certificate}"
    assert "`openssl pkey -in FILE -out NEW` removes the passphrase" in said(tmp_path, c, str(locked))
    assert said(tmp_path, str(damaged), k).endswith("damaged.pem: certificate 1 in it is damaged")
    assert said(tmp_path, str(chain), k).endswith("chain.pem: certificate 2 in it is damaged")
    assert said(tmp_path, c, str(broken)).startswith(
        f"key: {broken} with {certificate}: OpenSSL cannot use them"
    )
    assert "LoadCredential=tls.key:" in said(tmp_path, c, {"credential": "tls.key"})
    assert "no name of a credential" in said(
        tmp_path, c, {"credential": "../x"}, CREDENTIALS_DIRECTORY=str(tmp_path)
    )
    assert said(tmp_path, c, {"env": "NOPE"}) == "key: the environment variable NOPE is not set"
    assert "cannot be found so" in said(tmp_path, c, {"vault": "x"})


def test_without_one_or_with_a_wrong_shape_nothing_is_read(tmp_path: Path) -> None:
    assert configured_certificate({}, tmp_path, {}) is None
    assert configured_certificate({"http": {"tls": {"certificate": "x"}}}, tmp_path, {}) is None
    assert read(tmp_path, 7, "x") is None


@pytest.mark.parametrize(
    ("begins", "ends", "told"),
    [
        (-1, 15, None),
        (-1, 14, "expires in 13 days"),
        (-1, 1.5, "expires tomorrow"),
        (-1, 0.5, "expires today"),
        (-9, -1, "has expired, on "),
        (1, 90, "is not valid before "),
    ],
)
def test_a_certificate_that_clients_refuse_or_soon_will_is_warned_of(
    tmp_path: Path, begins: float, ends: float, told: str | None
) -> None:
    certificate, key = make_certificate(
        tmp_path, begins=timedelta(days=begins), ends=timedelta(days=ends, seconds=-5 if ends > 0 else 0)
    )
    if told is None:
        certificate, key = make_certificate(tmp_path, ends=timedelta(days=ends))
    files = read(tmp_path, str(certificate), str(key))
    assert isinstance(files, CertificateFiles)
    fault = certificate_risk(files, time.time())
    assert (fault is None) if told is None else (fault is not None and told in fault.message)


def test_loading_a_configuration_tells_the_place_of_a_broken_certificate(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    text = (
        GOOD
        + '[http]\nlisten = "https://127.0.0.1:8443"\n[http.tls]\ncertificate = "cdp.test.pem"\nkey = "{}"\n'
    )
    loaded = configured(tmp_path, text.format("cdp.test.key"))
    assert loaded.certificate is not None
    assert not loaded.warnings
    with pytest.raises(ConfigError) as raised:
        configured(tmp_path, text.format("lost.key"))
    (problem,) = raised.value.problems
    assert str(problem) == (
        f"{tmp_path}/cdpd.toml:9:7: http.tls.key: {tmp_path}/lost.key cannot be read: no such file or directory"
    )


def test_an_expired_certificate_is_a_warning_because_the_other_listeners_can_go_on(tmp_path: Path) -> None:
    make_certificate(tmp_path, begins=timedelta(days=-9), ends=timedelta(days=-1))
    tls = '[http.tls]\ncertificate = "cdp.test.pem"\nkey = "cdp.test.key"\n'
    loaded = configured(tmp_path, GOOD + '[http]\nlisten = ["127.0.0.1:1", "https://127.0.0.1:2"]\n' + tls)
    (warning,) = loaded.warnings
    assert "has expired" in str(warning)


@pytest.mark.parametrize(
    ("http", "told"),
    [
        ('listen = "https://127.0.0.1:1"', "there is no [http.tls]"),
        ('listen = ["127.0.0.1:1", "127.0.0.1:1"]', "http.listen[1]: 127.0.0.1:1 stands twice"),
        ("listen = []", "needs an address at least"),
        ('listen = ["127.0.0.1:1", "nowhere"]', "http.listen[1]: 'nowhere' is no address"),
        ('unix_mode = "rw"', "'rw' is no file mode: write three octal digits, like 0660"),
        ("unix_mode = 660", 'put it in quotes: "660"'),
        ('trusted_proxies = ["unx"]', "or unix for a proxy that comes by a Unix socket"),
    ],
)
def test_listeners_that_cannot_be_are_refused(tmp_path: Path, http: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured(tmp_path, f"{GOOD}[http]\n{http}\n")
    assert told in "\n".join(map(str, raised.value.problems))


@pytest.mark.parametrize(
    ("http", "told"),
    [
        ('listen = ["127.0.0.1:1", ":2"]', "http.listen[1]: :2 can be reached from other machines"),
        ('listen = ["unix:/run/x"]', 'trusted_proxies = ["unix"] takes it from X-Forwarded-For'),
        ('listen = "unix:/run/x"\ntrusted_proxies = ["unix"]', None),
        ('listen = "127.0.0.1:1"\n{tls}', "no address in listen speaks TLS"),
        ('listen = "https://:1"\n{tls}', None),
    ],
)
def test_listeners_that_may_hurt_are_warned_of(tmp_path: Path, http: str, told: str | None) -> None:
    make_certificate(tmp_path)
    tls = 'tls = { certificate = "cdp.test.pem", key = "cdp.test.key" }'
    loaded = configured(tmp_path, f"{GOOD}[http]\n{http.replace('{tls}', tls)}\n")
    warnings = "\n".join(map(str, loaded.warnings))
    assert not warnings if told is None else told in warnings
