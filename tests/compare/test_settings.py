"""What two configurations say differently."""

from __future__ import annotations

from pathlib import Path

from cdpd.compare.settings import changed_settings, same_chain

from .traffic import configuration

OLD = """
[pipeline]
hooks = ["spec", "ip"]
[hooks.ip]
anonymize = false
[destinations.crm]
type = "webhook"
url = "https://crm.example/in"
headers = { Authorization = "Bearer one" }
[metrics]
token = "first"
"""


def test_settings_that_differ_are_named_without_their_values(tmp_path: Path) -> None:
    new = (
        OLD.replace('"spec", "ip"', '"spec"')
        .replace("anonymize = false", "enabled = true")
        .replace("Bearer one", "Bearer two")
        .replace("first", "second")
        .replace("[metrics]", "[destinations.null]\n[metrics]")
    )
    old, other = (configuration(tmp_path, name, text) for name, text in (("old", OLD), ("new", new)))
    settings = changed_settings(old.config, other.config)
    assert [(setting.sign, setting.key, setting.before, setting.after) for setting in settings] == [
        ("~", "metrics.token", "", ""),
        ("~", "pipeline.hooks", "spec → ip", "spec"),
        ("-", "hooks.ip.anonymize", "", ""),
        ("+", "hooks.ip.enabled", "", ""),
        ("~", "destinations.crm.headers", "", ""),
        ("+", "destinations.null", "", ""),
    ]
    assert changed_settings(old.config, old.config) == []


def test_a_chain_is_the_same_whatever_list_it_is_written_in(tmp_path: Path) -> None:
    base = '[pipeline]\nhooks = ["spec", "ip"]\n'
    own = base + '[sources.own]\nwrite_keys = ["k"]\nhooks = ["spec", "ip"]\n'
    old = configuration(tmp_path, "old", base + '[sources.own]\nwrite_keys = ["k"]\n')
    assert same_chain(old, configuration(tmp_path, "new", own), "own")
    for other in (
        own.replace('["k"]\nhooks = ["spec", "ip"]', '["k"]\nhooks = ["ip", "spec"]'),
        own + 'type = "server"\n',
        own + "enabled = false\n",
        own + "[hooks.ip]\nanonymize = true\n",
        base,
    ):
        assert not same_chain(old, configuration(tmp_path, "new", other), "own")
    assert same_chain(old, configuration(tmp_path, "new", own + "rate_limit = '1/s'\n"), "own")
