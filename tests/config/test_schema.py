"""The JSON Schema of cdpd.toml: what editors say of configurations, right ones and wrong ones."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from jsonschema import Draft202012Validator
from msgspec import Meta, Struct, field

from cdpd import discovery
from cdpd.config.schema import DIALECT, schema
from cdpd.config.starter import starter
from cdpd.destinations.contract import Destination, DestinationConfig
from cdpd.plugins import Plugin
from cdpd.secret import Secret

from .catalogue import FakeCatalogue, FakeFound

ETC = Path(__file__).parents[2] / "etc"


class Rule(Struct, forbid_unknown_fields=True, frozen=True):
    """A rule of many."""

    code: Annotated[int, Meta(ge=100, le=599)]
    inner: list[Rule] = []


class Mark(Plugin):
    """Marks events."""

    class Config(Struct, forbid_unknown_fields=True, frozen=True, rename="kebab"):
        mode: Literal["loud", "quiet"]
        """How."""
        rules: list[Rule] = []
        tags: dict[str, str | int] = {}
        sample_rate: Annotated[float, Meta(gt=0, le=1)] = 1.0
        file: Path | None = None
        name: Annotated[str, Meta(min_length=2, pattern="^[a-z]+$")] = "ab"


class Crm(Destination):
    """A CRM."""

    name = "Crm"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        token: Secret
        headers: dict[str, Secret] = field(default_factory=dict)


class Catalogue(FakeCatalogue):
    def hooks(self) -> Mapping[str, FakeFound]:
        return {"mark": FakeFound(Mark), "spec": FakeFound(Plugin)}

    def destinations(self) -> Mapping[str, FakeFound]:
        return {"crm": FakeFound(Crm), "console": FakeFound(Destination)}


def of(catalogue: Any) -> Draft202012Validator:
    made, unloadable = schema(catalogue)
    assert not unloadable
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


@pytest.fixture(scope="module")
def installed() -> Draft202012Validator:
    """By the schema of what is installed."""
    return of(discovery)


def errors(validator: Draft202012Validator, text: str) -> list[tuple[str, str]]:
    """(path, keyword) of what is wrong."""
    return [
        (".".join(map(str, error.absolute_path)), str(error.validator))
        for error in validator.iter_errors(tomllib.loads(text))
    ]


def test_the_configuration_in_etc_and_the_starter_are_right(installed: Draft202012Validator) -> None:
    files = [ETC / "cdpd.toml", *sorted((ETC / "conf.d").glob("*.toml"))]
    assert len(files) > 1
    for text in (*(path.read_text() for path in files), starter("wk_x")):
        assert errors(installed, text) == []


def test_the_examples_in_the_readme_of_the_hooks_are_right(installed: Draft202012Validator) -> None:
    readme = (ETC.parent / "cdpd" / "hooks" / "README.md").read_text()
    blocks = [block.partition("```")[0] for block in readme.split("```toml\n")[1:]]
    assert blocks
    for block in blocks:
        assert errors(installed, block) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[htpt]\n", ("", "additionalProperties")),
        ("[http]\nlisen = ''\n", ("http", "additionalProperties")),
        ("[http]\nunknown_key = 404\n", ("http.unknown_key", "enum")),
        ("[http]\nmax_depth = 0\n", ("http.max_depth", "minimum")),
        ("[http]\nbody_timeout = 0\n", ("http.body_timeout", "exclusiveMinimum")),
        ("[sources.web]\n", ("sources.web", "required")),
        ("[sources.web]\nwrite_keys = 'wk'\n", ("sources.web.write_keys", "type")),
        ("[sources.'my web']\nwrite_keys = ['wk']\n", ("sources", "pattern")),
        ("[oauth.app]\nkeys = [{}]\n", ("oauth.app.keys.0", "required")),
        ("[pipeline]\nhooks = [1]\n", ("pipeline.hooks.0", "anyOf")),
        ("[hooks.own]\n", ("hooks.own", "required")),
        ("[hooks.own]\nuse = 'mrak'\n", ("hooks.own.use", "enum")),
        ("[hooks.mark]\n", ("hooks.mark", "required")),
        ("[hooks.mark]\nmode = 'noisy'\n", ("hooks.mark.mode", "enum")),
        ("[hooks.own]\nuse = 'mark'\nmode = 'noisy'\n", ("hooks.own.mode", "enum")),
        ("[hooks.mark]\nmode = 'loud'\nmood = 1\n", ("hooks.mark", "additionalProperties")),
        ("[hooks.mark]\nmode = 'loud'\nsample-rate = 2\n", ("hooks.mark.sample-rate", "maximum")),
        ("[hooks.mark]\nmode = 'loud'\nname = 'A1'\n", ("hooks.mark.name", "pattern")),
        ("[hooks.mark]\nmode = 'loud'\nrules = [{ code = 1 }]\n", ("hooks.mark.rules.0.code", "minimum")),
        ("[hooks.mark]\nmode = 'loud'\ntags = { a = true }\n", ("hooks.mark.tags.a", "anyOf")),
        ("[hooks.spec]\nmode = 'loud'\n", ("hooks.spec", "additionalProperties")),
        ("[destinations.out]\n", ("destinations.out", "required")),
        ("[destinations.out]\ntype = 'cmr'\n", ("destinations.out.type", "enum")),
        ("[destinations.out]\ntype = 'crm'\n", ("destinations.out", "required")),
        ("[destinations.crm]\ntoken = 'x'\ntimeout = 0\n", ("destinations.crm.timeout", "exclusiveMinimum")),
        ("[destinations.crm]\ntoken = { vault = 'x' }\n", ("destinations.crm.token", "anyOf")),
        ("[destinations.crm]\ntoken = { env = 'A', file = 'b' }\n", ("destinations.crm.token", "anyOf")),
        ("[destinations.crm]\ntype = 'console'\ntoken = 'x'\n", ("destinations.crm", "additionalProperties")),
        ("[destinations.console]\ntoken = 'x'\n", ("destinations.console", "additionalProperties")),
        ("[destinations.console.batch]\nmax = 1\n", ("destinations.console.batch", "additionalProperties")),
    ],
    ids=lambda value: value.replace("\n", " ").strip() if isinstance(value, str) else "",
)
def test_what_is_wrong_is_marked_at_its_place(text: str, wrong: tuple[str, str]) -> None:
    assert errors(of(Catalogue()), text) == [wrong]


@pytest.mark.parametrize(
    "text",
    [
        "[hooks.mark]\nmode = 'loud'\nfile = 'x'\ntags = { a = 'b', c = 1 }\nrules = [{ code = 200, inner = [{}] }]\n",
        "[hooks.own]\nuse = 'mark'\nmode = 'quiet'\nsample-rate = 1\n",
        "[pipeline]\nhooks = ['spec', 'own']\n[sources.web]\nwrite_keys = ['wk']\nhooks = ['mark']\n",
        "[destinations.crm]\ntoken = 'x'\n",
        "[destinations.out]\ntype = 'crm'\ntoken = { credential = 'crm' }\nheaders = { A = { env = 'B' }, C = 'd' }\n",
        "[destinations.crm]\ntype = 'console'\nfrom = 'beginning'\nbatch = { max_events = 1 }\n",
    ],
)
def test_what_is_right_is_left_alone(text: str) -> None:
    assert errors(of(Catalogue()), text) == []


def test_keys_are_explained_with_their_defaults_and_choices() -> None:
    made, _ = schema(Catalogue())
    assert made["$schema"] == DIALECT
    listen = made["properties"]["http"]["properties"]["listen"]
    assert listen["default"] == "127.0.0.1:8080"
    assert "HOST:PORT" in listen["description"]
    assert made["properties"]["http"]["description"] == "[http]: the tracking API."
    crm = made["$defs"]["destination.crm"]
    assert crm["description"] == "A CRM."
    assert crm["required"] == ["token"]
    assert crm["properties"]["type"]["enum"] == ["console", "crm"]
    assert made["$defs"]["hook.mark"]["properties"]["mode"]["description"] == "How."


def test_an_editor_that_knows_no_conditions_can_complete_every_plugins_options() -> None:
    made, _ = schema(Catalogue())
    table = made["properties"]["destinations"]["additionalProperties"]
    assert {"type", "token", "headers", "sources", "timeout"} <= table["properties"].keys()
    assert table["properties"]["sources"]["description"].startswith("Names of the sources")
    choices = made["properties"]["pipeline"]["properties"]["hooks"]["items"]["anyOf"][0]["enum"]
    assert choices == ["mark", "spec"]


def test_a_plugin_that_cannot_be_loaded_is_told_and_may_have_any_options() -> None:
    made, unloadable = schema(FakeCatalogue())
    assert [(plugin.kind, plugin.name, plugin.distribution) for plugin in unloadable] == [
        ("hook", "broken", "cdpd-broken")
    ]
    assert "No module named 'maxminddb'" in unloadable[0].reason
    validator = Draft202012Validator(made)
    assert errors(validator, "[hooks.broken]\nanything = [1]\n") == []
    assert errors(validator, "[hooks.dedup]\nwindo = '1h'\n") == [("hooks.dedup", "additionalProperties")]


def test_a_secrets_default_is_never_in_it() -> None:
    class Leaky(Destination):
        name = "Leaky"

        class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
            token: Secret = field(default_factory=lambda: Secret("hush"))

    class One(FakeCatalogue):
        def destinations(self) -> Mapping[str, FakeFound]:
            return {"leaky": FakeFound(Leaky)}

    made, _ = schema(One())
    token = made["$defs"]["destination.leaky"]["properties"]["token"]
    assert "default" not in token


def test_the_validator_used_here_finds_mistakes_at_all() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"http": {"listen": 1}}, schema(Catalogue())[0])
