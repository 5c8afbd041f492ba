"""cdpd/alerts/README.md and the reference tell what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

import cdpd.alerts
from cdpd.alerts.message import Message
from cdpd.cli.registry import BUILT_IN
from cdpd.config.alert_rules import broken_alert_rules
from cdpd.config.alerts import KINDS, AlertConfig
from cdpd.config.reference import reference
from cdpd.delivery.schema import STEPS

README = Path(cdpd.alerts.__file__).with_name("README.md")
TEXT = README.read_text()


def test_the_alerts_in_it_can_be_configured() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    data = tomllib.loads(block)
    known = {"destinations": {"crm": {}, "ops": {}}, "sources": {"website": {}}}
    assert not list(broken_alert_rules({**data, **known}))
    for alert in data["alerts"].values():
        plain = {name: value for name, value in alert.items() if name != "webhook"}
        msgspec.convert(plain, AlertConfig)


def test_every_condition_is_in_the_reference() -> None:
    text = reference()
    assert all(f"| `{kind.example}` |" in text for kind in KINDS.values())


def test_files_tables_and_commands_that_it_names_are_there() -> None:
    for name in re.findall(r"`(\w+\.py)`", TEXT):
        assert README.with_name(name).exists()
    for name in re.findall(r"`(alert\w+)`", TEXT.partition("(tables ")[2].partition(")")[0]):
        assert any(f"create table {name} " in step for step in STEPS)
    assert set(re.findall(r"\$ cdpd (\w+)", TEXT)) <= set(BUILT_IN)


def test_every_property_of_a_message_is_named() -> None:
    source = Path(README.with_name("message.py")).read_text()
    body = source.partition("properties: dict[str, Any] = {")[2].partition("\n    }\n")[0]
    names = set(re.findall(r'^\s+"(\w+)":', body, re.MULTILINE))
    assert len(names) > 10
    assert names <= set(re.findall(r"`(\w+)`", TEXT))
    assert "properties" in Message.__struct_fields__
