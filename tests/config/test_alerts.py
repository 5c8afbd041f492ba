"""[alerts.NAME]: what a condition may be, and what `cdpd check` says of one that is wrong or would reach nobody."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from cdpd.config.alerts import KINDS, NoCondition, parse_condition
from cdpd.config.load import load
from cdpd.config.problem import ConfigError

from .catalogue import FakeCatalogue

REST = """
[sources.website]
write_keys = ["wk_website_4f1c"]
[destinations.crm]
type = "console"
[destinations.ops]
type = "console"
"""


def checked(folder: Path, text: str, rest: str = REST) -> list[str]:
    """Mistakes, else warnings, of an alert `a`."""
    path = folder / "cdpd.toml"
    path.write_text(f"[alerts.a]\n{text}\n{rest}")
    path.chmod(0o600)
    try:
        return [str(problem) for problem in load(path, catalogue=FakeCatalogue(), environ={}).warnings]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("text", "operator", "limit", "unit"),
    [
        ("success_rate < 95%", "<", Fraction(95), "percent"),
        ("success_rate<=99.9 %", "<=", Fraction("99.9"), "percent"),
        ("lag > 15m", ">", Fraction(900), "seconds"),
        ("lag > 1.5h", ">", Fraction(5400), "seconds"),
        ("lag >= 10000 events", ">=", Fraction(10_000), "events"),
        ("parked > 1_000", ">", Fraction(1000), "events"),
        ("volume < 1,000,000", "<", Fraction(1_000_000), "events"),
        ("volume_change > 250%", ">", Fraction(250), "percent"),
        ("disk_free < 10GiB", "<", Fraction(10 << 30), "bytes"),
        ("disk_free < 2.5%", "<", Fraction("2.5"), "percent"),
        (" failing ", "", Fraction(0), "events"),
    ],
)
def test_a_condition_is_understood(text: str, operator: str, limit: Fraction, unit: str) -> None:
    found = parse_condition(text)
    assert (found.operator, found.limit, found.unit) == (operator, limit, unit)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_the_example_of_every_kind_is_one(kind: object) -> None:
    from cdpd.config.alerts import Kind

    assert isinstance(kind, Kind)
    assert parse_condition(kind.example).kind == kind


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("succes_rate < 95%", "there is no condition 'succes_rate'", 'did you mean "success_rate"?'),
        ("95% > success_rate", "'95% > success_rate' is no condition: write one like", ""),
        ("", "'' is no condition", ""),
        ("xyz", "there is no condition 'xyz'", "there are: success_rate, newly_parked,"),
        ("success_rate", "success_rate needs a limit", 'like when = "success_rate < 95%"'),
        ("success_rate > 95%", "success_rate takes < or <=, not >", ""),
        ("success_rate < 95", "'95' is no limit of success_rate: write a percentage", "write 95%"),
        ("lag > soon", "'soon' is no limit of lag: write a duration like 15m or a number of events", ""),
        ("lag > 5%", "'5%' is no limit of lag", ""),
        ("parked = 5", "parked takes > or >=, not =", ""),
        ("paused > 5m", "paused has no limit", 'write when = "paused"'),
        ("disk_free < 10 apples", "'10 apples' is no limit of disk_free: write a size like 10GiB or", ""),
    ],
)
def test_what_is_no_condition_is_told(text: str, said: str, hint: str) -> None:
    with pytest.raises(NoCondition) as caught:
        parse_condition(text)
    assert said in str(caught.value)
    assert hint in caught.value.hint


def test_a_whole_alert_without_a_fault(tmp_path: Path) -> None:
    text = """
        when = "success_rate < 95%"
        destination = ["crm"]
        over = "24h"
        for = "5m"
        resolve_after = "1h"
        at_least = 50
        to = ["ops"]
        webhook = "https://hooks.example.com/x"
        note = "runbook"
    """
    assert checked(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('when = "success < 9%"\nto = ["ops"]', "2:8: alerts.a.when: there is no condition 'success'"),
        ('to = ["ops"]', "alerts.a.when: missing"),
        (
            'when = "failing"\nsource = "website"',
            "3:1: alerts.a.source: failing is about destinations: source means",
        ),
        ('when = "volume < 5"\ndestination = "crm"', "write source = … instead"),
        (
            'when = "disk_full"\ndestination = "crm"',
            "disk_full is about the disk: destination means nothing here",
        ),
        (
            'when = "lag > 1m"\nover = "1h"',
            "3:1: alerts.a.over: lag is about this moment, not a window of time",
        ),
        ('when = "lag > 1m"\nat_least = 5', "lag is no share: at_least means nothing here"),
        ('when = "volume < 5"\nover = "1m"', "'1m': a window is 5m at least and 7d at most"),
        ('when = "volume < 5"\nover = "8d"', "'8d': a window is 5m at least and 7d at most"),
        ('when = "failing"\nfor = "soon"', "3:7: alerts.a.for: 'soon' is no duration"),
        (
            'when = "failing"\ndestination = "crn"',
            "3:15: alerts.a.destination: there is no destination 'crn'",
        ),
        (
            'when = "failing"\ndestination = ["crm", "opps"]',
            "alerts.a.destination[1]: there is no destination",
        ),
        ('when = "failing"\ndestination = []', "names no destination; leave it out for every one"),
        ('when = "failing"\nto = ["opps"]', "there is no destination 'opps'"),
        ('when = "volume < 5"\nsource = "site"', "there is no source 'site'"),
        ('when = "failing"\nwebhook = "hooks.example.com"', "webhook: write an address like https://"),
        ('when = "failing"\nfro = "5m"', 'alerts.a.fro: unknown key; did you mean "for"?'),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in problem for problem in checked(tmp_path, text)), checked(tmp_path, text)


def test_a_wrong_webhook_is_not_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_URL", "secret-thing")
    (problem,) = checked(tmp_path, 'when = "failing"\nwebhook = { env = "NO_URL" }')
    assert "write an address like" in problem
    assert "secret-thing" not in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('when = "failing"', "this alert is told to nobody: it stands in the daemon's log"),
        ('when = "failing"\nenabled = false', None),
        (
            'when = "failing"\nto = ["ops"]',
            "when ops itself is in trouble, this alert of it cannot reach anybody",
        ),
        ('when = "failing"\nto = ["ops"]\ndestination = "crm"', None),
        ('when = "failing"\nto = ["ops", "crm"]', None),
        ('when = "failing"\nto = ["ops"]\nwebhook = "https://h.example.com"', None),
        ('when = "volume < 5"\nto = ["ops"]', None),
    ],
)
def test_what_would_reach_nobody_is_a_warning(tmp_path: Path, text: str, said: str | None) -> None:
    found = checked(tmp_path, text)
    assert (found == []) if said is None else any(said in problem for problem in found), found


def test_a_destination_that_is_not_enabled_gets_no_alert(tmp_path: Path) -> None:
    text = 'when = "failing"\ndestination = "crm"\nto = ["ops"]'
    (found,) = checked(tmp_path, text, REST + "enabled = false\n")
    assert "the destination ops is not enabled: it gets no alert" in found
