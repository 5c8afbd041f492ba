"""Loading: which files, merged how, and what is said of mistakes: always with file, line and column."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cdpd.config.load import LoadedConfig, config_id, load
from cdpd.config.peek import peek
from cdpd.config.problem import ConfigError

from .catalogue import FakeCatalogue

GOOD = """
[sources.website]
write_keys = ["wk_website_4f1c"]
"""


def loaded(folder: Path, text: str, **conf_d: str) -> LoadedConfig:
    path = folder / "cdpd.toml"
    path.write_text(text)
    path.chmod(0o600)
    for name, more in conf_d.items():
        (folder / "conf.d").mkdir(exist_ok=True)
        (folder / "conf.d" / f"{name}.toml").write_text(more)
    return load(path, catalogue=FakeCatalogue(), environ={})


def problems(folder: Path, text: str, **conf_d: str) -> list[str]:
    """What is said, with the folder's own name left out."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, **conf_d)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def warnings(folder: Path, text: str) -> list[str]:
    return [str(problem).replace(f"{folder}/", "") for problem in loaded(folder, text).warnings]


# -- which file ----------------------------------------------------------------------------------------


def test_the_current_folder_wins_over_the_system_file(tmp_path: Path) -> None:
    system = tmp_path / "etc.toml"
    system.write_text("[logging]\nlevel = 'debug'\n" + GOOD)
    assert load(folder=tmp_path, system_file=system, catalogue=FakeCatalogue()).files == [system]
    (tmp_path / "cdpd.toml").write_text(GOOD)
    found = load(folder=tmp_path, system_file=system, catalogue=FakeCatalogue())
    assert found.files == [tmp_path / "cdpd.toml"]
    assert found.config.logging.level == "info"


def test_without_a_file_nothing_is_loaded_but_the_way_on_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration found") as caught:
        load(folder=tmp_path, system_file=tmp_path / "none.toml", catalogue=FakeCatalogue())
    assert "cdpd init" in str(caught.value)


def test_a_named_file_that_is_missing_is_an_error_even_for_the_development_daemon(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: no such file"):
        load(tmp_path / "gone.toml", development=True, catalogue=FakeCatalogue())


def test_the_development_daemon_makes_its_write_key_once_and_keeps_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = load(data_dir=data, folder=tmp_path, system_file=tmp_path / "no", development=True)
    again = load(data_dir=data, folder=tmp_path, system_file=tmp_path / "no", development=True)
    assert first.development
    assert list(first.config.sources) == ["dev"]
    assert first.config.sources["dev"].write_keys == [(data / "write_key").read_text().strip()]
    assert first.config == again.config
    assert first.config.destinations == {"console": {"type": "console"}}
    assert stat.S_IMODE((data / "write_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_a_data_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot keep a write key in the data folder .*--data-dir"):
        load(
            data_dir=tmp_path / "file" / "data",
            folder=tmp_path,
            system_file=tmp_path / "no",
            development=True,
        )


def test_the_data_folder_is_the_options_then_the_files_then_systemds_then_the_default(tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    path.write_text(GOOD)
    state = {"STATE_DIRECTORY": "/var/lib/cdpd:/var/lib/other"}
    assert peek(path, environ={}).data_dir == Path("cdpd-data")
    assert peek(path, environ=state).data_dir == Path("/var/lib/cdpd")
    path.write_text("[data]\ndir = 'kept'\n" + GOOD)
    assert peek(path, environ=state).data_dir == tmp_path / "kept"
    assert peek(path, Path("given"), environ=state).data_dir == Path("given")
    assert load(path, catalogue=FakeCatalogue(), environ=state).data_dir == tmp_path / "kept"


def test_the_data_folder_is_found_in_a_configuration_with_other_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    path.write_text("[data]\ndir = '/srv/cdpd'\n[htpp]\n")
    assert peek(path, environ={}).data_dir == Path("/srv/cdpd")


# -- conf.d --------------------------------------------------------------------------------------------


def test_files_in_conf_d_are_merged_in_name_order(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        GOOD,
        b='[sources.app]\nwrite_keys = ["wk_app_7a11"]',
        a='[http]\nlisten = ":9"\ntrusted_proxies = ["10.0.0.1"]',
    )
    assert [path.name for path in found.files] == ["cdpd.toml", "a.toml", "b.toml"]
    assert list(found.config.sources) == ["website", "app"]
    assert found.config.http.listen == ":9"


def test_a_key_set_in_two_files_is_an_error_that_names_both_places(tmp_path: Path) -> None:
    assert problems(
        tmp_path, GOOD + '[http]\nlisten = "127.0.0.1:1"', x='[http]\n  listen = "127.0.0.1:2"'
    ) == ["conf.d/x.toml:2:3: http.listen: set twice: also at cdpd.toml:5:1; keep one of them"]


def test_mistakes_in_every_file_are_reported_together_with_their_own_places(tmp_path: Path) -> None:
    said = problems(tmp_path, "[http]\nlisen = 1\n", a="x = \n", b="[pipeline]\nhook = []\n")
    assert said == [
        'conf.d/a.toml:1:5: not valid TOML: invalid value; a string needs quotes: key = "text"',
        'cdpd.toml:2:1: http.lisen: unknown key; did you mean "listen"?',
        'conf.d/b.toml:2:1: pipeline.hook: unknown key; did you mean "hooks"?',
    ]


# -- mistakes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[http\n", "cdpd.toml:1:6: not valid TOML: expected ']' at the end of a table declaration"),
        (
            'a = "x"\na = "y"\n',
            "cdpd.toml:2:8: not valid TOML: cannot overwrite a value; "
            "each table and each key may stand once in a file",
        ),
        ("[htpp]\nx = 1\n", 'cdpd.toml:1:2: htpp: unknown key; did you mean "http"?'),
        (
            "[http]\nmax_event_bytes = 0\n",
            "cdpd.toml:2:19: http.max_event_bytes: expected a whole number >= 1, found 0",
        ),
        ("[http]\nunknown_key = 404\n", "cdpd.toml:2:15: http.unknown_key: expected 200 or 401, found 404"),
        (
            '[http]\nbody_timeout = "30"\n',
            'cdpd.toml:2:16: http.body_timeout: expected a number, found "30"; write 30, without quotes',
        ),
        ("http = 3\n", "cdpd.toml:1:8: http: expected a table, found 3"),
        (
            "[http]\nlisten = 8080\n",
            'cdpd.toml:2:10: http.listen: expected a string or a list of strings, found 8080; put it in quotes: "8080"',
        ),
        (
            '[http]\nlisten = "localhost"\n',
            "cdpd.toml:2:10: http.listen: 'localhost' is no address to listen on: write HOST:PORT, like "
            "127.0.0.1:8080, [::1]:8080 or :8080 for every address",
        ),
        (
            '[http]\ntrusted_proxies = ["10.0.0.0/8", "10.0.0.7/8"]\n',
            "cdpd.toml:2:34: http.trusted_proxies[1]: '10.0.0.7/8' has bits set after "
            "its prefix: write 10.0.0.0/8",
        ),
        (
            "[http]\nmax_depth = 121\n",
            "cdpd.toml:2:13: http.max_depth: expected 120 at most, found 121: "
            "`cdpd query` could not read deeper events",
        ),
        (
            "[http]\nmax_in_flight_bytes = 1000\n",
            "cdpd.toml:2:23: http.max_in_flight_bytes: one body may have 4194304 bytes, but all together only 1000: "
            "it could never be taken; make max_in_flight_bytes many times max_batch_bytes",
        ),
        (
            '[logging]\nlevel = "warn"\n',
            'cdpd.toml:2:9: logging.level: expected "debug", "info", "warning" or "error", found "warn"; '
            'did you mean "warning"?',
        ),
        (
            '[log.received]\nkeep = "7 days"\n',
            "cdpd.toml:2:8: log.received.keep: '7 days' is no duration: write a number and s, m, h, d or w, "
            "like 90s, 12h or 7d, or forever",
        ),
        (
            "[sources.a]\n",
            "cdpd.toml:1:10: sources.a.write_keys: missing: a list of strings is needed here",
        ),
        (
            '[sources.a]\nwrite_keys = "k"\n',
            'cdpd.toml:2:14: sources.a.write_keys: expected a list of strings, found "k"; write ["k"]',
        ),
        (
            '[sources.a]\nwrite_keys = ["long-enough", ""]\n',
            "cdpd.toml:2:30: sources.a.write_keys[1]: a write key cannot be empty",
        ),
        (
            '[sources.a]\nwrite_keys = ["shared-key"]\n[sources.b]\nwrite_keys = ["shared-key"]\n',
            "cdpd.toml:4:15: sources.b.write_keys[0]: source a has this write key already; "
            "give each source keys of its own",
        ),
        (
            '[sources."../x"]\nwrite_keys = ["long-enough"]\n',
            "cdpd.toml:1:10: sources.\"../x\": '../x' cannot be a name: "
            "use letters, digits, `_`, `-` and `.` (100 at most)",
        ),
        (
            '[pipeline]\nhooks = ["spec", "dedpu"]\n',
            "cdpd.toml:2:18: pipeline.hooks[1]: there is no hook 'dedpu'; did you mean \"dedup\"?",
        ),
        (
            '[pipeline]\nhooks = ["spec", "geo"]\n',
            "cdpd.toml:2:18: pipeline.hooks[1]: there is no hook 'geo'; installed: broken, dedup, ip, spec; "
            "a plugin may be missing: pip install cdpd-geo",
        ),
        (
            '[pipeline]\nhooks = ["spec", "spec"]\n',
            "cdpd.toml:2:18: pipeline.hooks[1]: hook 'spec' stands twice in this list",
        ),
        (
            '[hooks.dedup]\nmode = "lenent"\nwindwo = "1h"\n',
            'cdpd.toml:2:8: hooks.dedup.mode: expected "strict" or "lenient", found "lenent"; '
            'did you mean "lenient"?\n'
            'cdpd.toml:3:1: hooks.dedup.windwo: unknown key; did you mean "window"?',
        ),
        (
            '[hooks.dedup]\nwindow = "never"\n',
            "cdpd.toml:1:8: hooks.dedup: window: 'never' is no duration",
        ),
        (
            '[hooks.again]\nuse = "dedupe"\n',
            "cdpd.toml:2:7: hooks.again.use: there is no hook 'dedupe'; did you mean \"dedup\"?",
        ),
        (
            '[pipeline]\nhooks = ["spec", "broken"]\n',
            "cdpd.toml:2:18: pipeline.hooks[1]: its package cdpd-broken cannot be loaded: "
            "ImportError: No module named 'maxminddb'; `cdpd plugins` shows what is installed",
        ),
        (
            '[destinations.out]\ntype = "mixpanel"\n',
            "cdpd.toml:2:8: destinations.out.type: there is no destination 'mixpanel'; "
            "installed: console, file; a plugin may be missing: pip install cdpd-mixpanel",
        ),
        (
            "[destinations.signups]\n",
            "cdpd.toml:1:15: destinations.signups: there is no destination 'signups'; "
            'say which it is: type = "…" (console, file)',
        ),
        (
            '[destinations.signups]\ntyp = "file"\n',
            'cdpd.toml:2:1: destinations.signups.typ: unknown key; did you mean "type"?',
        ),
        (
            '[destinations.file]\npath = "x"\nsources = ["web"]\n'
            '[sources.website]\nwrite_keys = ["long-enough"]\n',
            "cdpd.toml:3:12: destinations.file.sources[0]: there is no source 'web'; "
            'did you mean "website"?',
        ),
        (
            '[destinations.file]\npath = "x"\nfrom = "begining"\n',
            'cdpd.toml:3:8: destinations.file.from: expected "now", "beginning" or a time like '
            '2026-01-31T12:00:00Z, found "begining"; did you mean "beginning"?',
        ),
        (
            "[destinations.file]\n",
            "cdpd.toml:1:15: destinations.file.path: missing: a path is needed here",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_what_was_expected_and_a_way_out(
    tmp_path: Path, text: str, said: str
) -> None:
    assert "\n".join(problems(tmp_path, text)) == said


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    said = problems(tmp_path, '[http]\nlisen = 1\nlisten = "x"\n[sources.a]\nwrite_keys = [1, ""]\n[nope]\n')
    assert [line.split(": ")[0] for line in said] == [
        f"cdpd.toml:{place}" for place in ("2:1", "3:10", "5:15", "5:18", "6:2")
    ]


def test_bytes_that_are_not_utf_8_are_told_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    path.write_bytes(b'[http]\nlisten = "caf\xe9"\n')
    with pytest.raises(ConfigError) as caught:
        load(path, catalogue=FakeCatalogue())
    assert str(caught.value) == f"{path}:2:14: byte 0xe9 is not UTF-8; save the file as UTF-8"


def test_files_from_windows_are_read_and_located_alike(tmp_path: Path) -> None:
    path = tmp_path / "cdpd.toml"
    path.write_bytes(b"\xef\xbb\xbf[http]\r\nlisen = 1\r\n")
    with pytest.raises(ConfigError) as caught:
        load(path, catalogue=FakeCatalogue())
    assert str(caught.value).startswith(f"{path}:2:1: http.lisen: unknown key")


# -- risks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD, None),
        (
            '[http]\nlisten = ":8080"' + GOOD,
            "cdpd.toml:2:10: http.listen: :8080 can be reached from other machines",
        ),
        ('[http]\nlisten = ":8080"\ntrusted_proxies = ["10.0.0.1"]' + GOOD, None),
        (
            '[http]\ntrusted_proxies = ["10.0.0.1"]' + GOOD + 'type = "javascript"',
            "cdpd.toml:5:8: sources.website.type: browsers that are told only cdnURL send their events to Segment",
        ),
        (
            '[http]\npublic_url = "https://c.example.com"\ntrusted_proxies = ["10.0.0.1"]'
            + GOOD
            + 'type = "javascript"',
            None,
        ),
        (
            "[http]\nunknown_key = 200" + GOOD,
            "cdpd.toml:2:15: http.unknown_key: requests with a wrong write key",
        ),
        (
            '[sources.a]\nwrite_keys = ["wk_dev_website"]',
            "cdpd.toml:2:15: sources.a.write_keys[0]: 'wk_dev_website'",
        ),
        ('[sources.a]\nwrite_keys = ["abc"]', "cdpd.toml:2:15: sources.a.write_keys[0]: a key this short"),
        (
            '[log.received]\nkeep = "1h"' + GOOD,
            "cdpd.toml:2:8: log.received.keep: what came in is gone after 1h",
        ),
        ('[log.events]\nkeep = "90d"' + GOOD, "cdpd.toml:2:8: log.events.keep: the archive loses its oldest"),
        ("", "cdpd.toml: sources: no source is enabled"),
        ('[hooks.d2]\nuse = "dedup"' + GOOD, "cdpd.toml:1:8: hooks.d2: this hook is in no list of hooks"),
        ('[pipeline]\nhooks = ["dedup"]' + GOOD, 'cdpd.toml:2:9: pipeline.hooks: without "spec"'),
        (
            '[pipeline]\nhooks = ["dedup", "spec"]' + GOOD,
            'cdpd.toml:2:9: pipeline.hooks: "spec" is not the first',
        ),
    ],
)
def test_a_risky_setting_is_warned_of(tmp_path: Path, text: str, said: str | None) -> None:
    found = warnings(tmp_path, text)
    assert len(found) == (said is not None), found
    assert said is None or found[0].startswith(said)


def test_a_secret_in_a_file_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    class WithSecret(FakeCatalogue):
        def destinations(self):  # type: ignore[no-untyped-def]
            from cdpd.destinations.contract import Destination, DestinationConfig

            from .catalogue import FakeFound

            class Hook(Destination):
                class Config(DestinationConfig, frozen=True, kw_only=True):
                    shared_secret: str

            return {"webhook": FakeFound(Hook)}

    path = tmp_path / "cdpd.toml"
    path.write_text('[destinations.webhook]\nshared_secret = "hush"' + GOOD)
    path.chmod(0o644)
    found = load(path, catalogue=WithSecret()).warnings
    assert [(w.line, w.column, w.key) for w in found] == [(2, 17, "destinations.webhook.shared_secret")]
    assert "hush" not in str(found)
    path.chmod(0o640)
    assert load(path, catalogue=WithSecret()).warnings == []


# -- the configuration's id ----------------------------------------------------------------------------


def test_the_id_changes_with_what_shapes_events_and_with_nothing_else(tmp_path: Path) -> None:
    plain = loaded(tmp_path, GOOD)
    elsewhere = loaded(tmp_path, '[http]\nlisten = ":1"\n[logging]\nlevel = "debug"' + GOOD)
    other_chain = loaded(tmp_path, '[pipeline]\nhooks = ["spec"]' + GOOD)
    other_option = loaded(tmp_path, '[hooks.dedup]\nwindow = "1h"' + GOOD)
    assert plain.config_id == elsewhere.config_id == config_id(plain.config)
    assert len({plain.config_id, other_chain.config_id, other_option.config_id}) == 3
    assert 0 < plain.config_id < 2**64


def test_relative_paths_of_plugins_are_below_the_configurations_folder(tmp_path: Path) -> None:
    text = (
        GOOD
        + '[destinations.file]\npath = "out/copy.ndjson"\n[destinations.b]\ntype = "file"\npath = "/x/y"\n'
    )
    destinations = loaded(tmp_path, text).config.destinations
    assert destinations["file"]["path"] == str(tmp_path / "out/copy.ndjson")
    assert destinations["b"]["path"] == "/x/y"
