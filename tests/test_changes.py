"""What differs between two configurations: sections, names and keys."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cdpd.changes import NamedChanges, changed, details, restart_needed
from cdpd.config.load import LoadedConfig
from cdpd.config.model import Config


def loaded(**sections: object) -> LoadedConfig:
    return LoadedConfig(msgspec.convert(sections, Config), 1, Path("data"))


def test_the_same_configuration_differs_in_nothing() -> None:
    one = loaded(sources={"web": {"write_keys": ["wk_1"]}})
    assert (changed(one, one), details(one, one).named, details(one, one).keys) == ([], {}, {})


def test_sources_and_destinations_are_named_that_came_went_and_changed_with_the_keys_alone() -> None:
    before = loaded(
        sources={"web": {"write_keys": ["wk_1"]}, "gone": {"write_keys": ["wk_2"]}},
        destinations={"hook": {"type": "webhook", "url": "https://a.example/secret"}},
    )
    after = loaded(
        sources={"web": {"write_keys": ["wk_3"], "enabled": False}, "new": {"write_keys": ["wk_4"]}},
        destinations={"hook": {"type": "webhook", "url": "https://b.example/secret", "sources": ["web"]}},
    )
    found = details(before, after)
    assert found.named == {
        "sources": NamedChanges(["new"], ["gone"], {}, {"web": ["write_keys", "enabled"]}),
        "destinations": NamedChanges(changed={"hook": ["url", "sources"]}),
    }
    text = msgspec.json.encode(found).decode()
    assert "secret" not in text
    assert "wk_" not in text


def test_a_destination_that_takes_over_from_another_is_renamed_and_neither_added_nor_removed() -> None:
    before = loaded(destinations={"post": {"type": "webhook", "url": "a"}, "other": {"type": "null"}})
    after = loaded(
        destinations={"mail": {"type": "webhook", "url": "b", "was": "post"}, "other": {"type": "null"}}
    )
    assert details(before, after).named == {
        "destinations": NamedChanges(renamed={"mail": "post"}, changed={"mail": ["url"]})
    }


def test_was_alone_is_no_renaming_where_both_or_neither_of_the_names_are_there() -> None:
    before = loaded(destinations={"mail": {"type": "null", "was": "post"}})
    assert details(before, loaded(destinations={"mail": {"type": "null"}})).named == {
        "destinations": NamedChanges()
    }
    both = loaded(destinations={"mail": {"type": "null"}, "more": {"type": "null", "was": "mail"}})
    assert details(before, both).named == {"destinations": NamedChanges(added=["more"])}


def test_of_other_sections_the_keys_are_named() -> None:
    before, after = loaded(), loaded(logging={"level": "debug", "format": "json"}, data={"dir": "there"})
    found = details(before, after)
    assert (found.named, found.keys) == ({}, {"data": ["dir"], "logging": ["level", "format"]})
    assert restart_needed(before, after) == ["data", "logging.format"]
