"""The configuration as the doctor sees it, the certificate's end, and plugins that are broken or in the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cdpd import discovery
from cdpd.config.certificate import CertificateFiles
from cdpd.config.load import LoadedConfig
from cdpd.config.model import Config
from cdpd.discovery import Found
from cdpd.doctor.configuration import (
    Read,
    check_certificate,
    check_plugins,
    check_shown_certificate,
    read_configuration,
    with_credentials,
)

from .machine import NOW_MS, FakeMachine, only, told

GOOD = '[sources.web]\nwrite_keys = ["wk_doctor_web"]\n[destinations.console]\n'


def read(tmp_path: Path, text: str | None) -> Read:
    path = tmp_path / "cdpd.toml"
    if text is not None:
        path.write_text(text)
        path.chmod(0o600)
    return read_configuration(path if text is not None else None, None, tmp_path / "nowhere.toml")


def test_a_good_configuration_is_summed_up(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert told(found.findings) == [
        ("configuration", "ok", f"{tmp_path / 'cdpd.toml'}: 1 source, 1 destination")
    ]
    assert found.loaded is not None


def test_none_at_all_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = read(tmp_path, None)
    assert only(found.findings).state == "ok"
    assert (found.loaded, found.missing) == (None, True)
    assert list(tmp_path.iterdir()) == []


def test_every_mistake_and_every_risk_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, '[http]\nlisen = 1\n[sources.web]\nwrite_keys = "x"\n')
    assert [(check, state) for check, state, _ in told(found.findings)] == [("configuration", "problem")] * 2
    assert found.findings[0].text == f"{tmp_path / 'cdpd.toml'}:2:1: http.lisen: unknown key"
    assert found.findings[0].todo == 'did you mean "listen"?'
    assert (found.loaded, found.missing) == (None, False)
    found = read(tmp_path, GOOD + "[http]\nunknown_key = 200\n")
    assert only(found.findings).state == "warning"
    assert found.loaded is not None


def test_the_running_services_credentials_are_used_where_this_process_has_none(tmp_path: Path) -> None:
    given = tmp_path / "cdpd.service"
    assert with_credentials({}, given) == {}
    given.mkdir()
    assert with_credentials({}, given) == {"CREDENTIALS_DIRECTORY": str(given)}
    own = {"CREDENTIALS_DIRECTORY": "/own"}
    assert with_credentials(own, given) == own


DAY = 86_400
NOW = NOW_MS // 1000


@pytest.mark.parametrize(
    ("begins", "ends", "state", "text"),
    [
        (NOW - DAY, NOW + 90 * DAY, "ok", "web.pem is good for 90 days"),
        (NOW - DAY, NOW + 10 * DAY, "warning", "web.pem expires in 10 days"),
        (NOW - DAY, NOW + 2 * DAY, "problem", "web.pem expires in 2 days"),
        (NOW - 9 * DAY, NOW - DAY, "problem", "web.pem expired 1 day ago: clients refuse it"),
        (NOW + DAY, NOW + 90 * DAY, "problem", "web.pem is not valid yet: clients refuse it"),
    ],
)
def test_a_certificates_end_is_told(begins: int, ends: int, state: str, text: str) -> None:
    files = CertificateFiles(b"", b"", "web.pem", begins, ends)
    loaded = LoadedConfig(Config(), 1, Path(), certificate=files)
    finding = only(check_certificate(loaded, FakeMachine()))
    assert (finding.state, finding.text) == (state, text)


def test_a_renewed_certificate_that_the_daemon_does_not_show_yet_is_told() -> None:
    files = CertificateFiles(b"", b"", "web.pem", NOW - DAY, NOW + 90 * DAY)
    loaded = LoadedConfig(Config(), 1, Path(), certificate=files)
    finding = only(check_shown_certificate(loaded, {"certificate": {"expires": "2026-02-02T12:00:00Z"}}))
    assert finding.state == "warning"
    assert finding.text == (
        "the daemon shows one that expires 2026-02-02T12:00:00Z; web.pem is another by now"
    )
    assert list(check_shown_certificate(loaded, {"certificate": {"expires": "2026-05-01T12:00:00Z"}})) == []
    assert list(check_shown_certificate(loaded, {})) == []


def test_without_a_certificate_there_is_nothing_to_tell() -> None:
    assert list(check_certificate(LoadedConfig(Config(), 1, Path()), FakeMachine())) == []


def found(name: str, value: str, distribution: str = "cdpd-own") -> Callable[[], Mapping[str, Found]]:
    return lambda: {name: Found(name, distribution, "1.2", value, discovery.HOOKS)}


def none() -> Mapping[str, Found]:
    return {}


def ours(group: Callable[[], Mapping[str, Found]]) -> Callable[[], Mapping[str, Found]]:
    """A group without the packages that happen to be installed beside."""
    return lambda: {name: found for name, found in group().items() if found.distribution == "cdpd-daemon"}


def test_plugins_that_can_be_loaded_are_listed_by_package() -> None:
    good = found("own", "cdpd.hooks.drop:Drop")
    finding = only(check_plugins(good, ours(discovery.destinations), none, FakeMachine()))
    assert finding.state == "ok"
    assert finding.text == "all can be loaded; besides those of cdpd-daemon: cdpd-own 1.2"
    finding = only(check_plugins(ours(discovery.hooks), none, none, FakeMachine()))
    assert finding.text.endswith("besides those of cdpd-daemon: none")


def test_a_plugin_that_cannot_be_loaded_is_told_with_its_package() -> None:
    broken = found("own", "cdpd_missing:Own")
    for groups, kind in (((broken, none, none), "hook"), ((none, none, broken), "command")):
        finding = only(check_plugins(*groups, FakeMachine()))
        assert finding.state == "problem"
        assert finding.text == (
            f"the {kind} 'own' of cdpd-own 1.2 cannot be loaded: "
            "ModuleNotFoundError: No module named 'cdpd_missing'"
        )
        assert finding.todo == "upgrade or uninstall cdpd-own"


def test_a_strangers_package_called_cdpd_is_told() -> None:
    machine = FakeMachine()
    machine.installed["cdpd"] = "2.0"
    findings = told(check_plugins(none, none, none, machine))
    assert findings[0] == (
        "plugins", "problem", "the package cdpd 2.0 is installed, which is somebody else's and may hide ours",
    )  # fmt: skip
