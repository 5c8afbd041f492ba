"""The browser library as it is served: names, caching, compression. In a real browser: tests/clients."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from cdpd.ingest.browser_library import ENTRY as NAME
from cdpd.ingest.browser_library import Asset, BrowserLibrary, asked, served
from tests.analytics_js import CHUNK, ENTRY, write_package


@pytest.fixture
def library(tmp_path: Path) -> BrowserLibrary:
    return BrowserLibrary.read(write_package(tmp_path))


def entry(library: BrowserLibrary) -> Asset:
    found = library.find(NAME, host_known=True)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "key", "name"),
    [
        ("/analytics.js/v1/WRITEKEY/analytics.min.js", "WRITEKEY", "analytics.min.js"),
        ("/analytics.js/v1/a%2Fb/analytics.min.js", "a/b", "analytics.min.js"),
        ("/analytics.js/v1/WRITEKEY/x.bundle.0123.js", "WRITEKEY", "x.bundle.0123.js"),
        ("/analytics-next/bundles/x.bundle.0123.js", None, "x.bundle.0123.js"),
    ],
)
def test_a_path_names_a_file_and_maybe_a_key(path: str, key: str | None, name: str) -> None:
    found = asked(path)
    assert found is not None
    assert (found.key, found.name) == (key, name)


@pytest.mark.parametrize(
    "path", ["/", "/v1/track", "/analytics.js/v1/", "/analytics.js/v1/KEY", "/analytics.js"]
)
def test_other_paths_are_none_of_its(path: str) -> None:
    assert asked(path) is None


@pytest.mark.parametrize(
    "name",
    ["", "standalone.js", "index.js", "standalone.js.map", f"{CHUNK}.map", "notes.txt", "../standalone.js",
     "..%2fnotes.txt", f"./{CHUNK}", "/etc/passwd"],
)  # fmt: skip
def test_nothing_but_the_library_can_be_had(library: BrowserLibrary, name: str) -> None:
    assert library.find(name, host_known=True) is None


def test_the_library_is_what_was_in_the_package_after_a_few_lines_that_say_where_it_is(
    library: BrowserLibrary,
) -> None:
    head, found, rest = entry(library).plain.partition(ENTRY)
    assert (found, rest) == (ENTRY, b"")
    assert b"_cdn=" in head
    assert b"apiHost" not in head
    assert library.chunks[CHUNK].plain == b"chunk " + CHUNK.encode()


def test_where_the_settings_name_no_host_the_library_is_told_where_events_go(library: BrowserLibrary) -> None:
    found = library.find(NAME, host_known=False)
    assert found is not None
    assert b"apiHost" in found.plain
    assert found.tag != entry(library).tag


def test_what_was_compressed_once_is_sent_to_those_who_take_it(library: BrowserLibrary) -> None:
    asset = entry(library)
    plain, zipped = served(asset, {}), served(asset, {"accept-encoding": "br, gzip"})
    assert plain.body == gzip.decompress(zipped.body) == asset.plain
    assert len(zipped.body) < len(plain.body)
    assert b"Content-Encoding: gzip\r\n" in zipped.extra
    assert b"Content-Encoding" not in plain.extra
    assert b"Vary: Accept-Encoding\r\n" in plain.extra
    assert b"Vary: Accept-Encoding\r\n" in zipped.extra


def test_the_entry_is_asked_for_again_soon_and_a_chunk_never(library: BrowserLibrary) -> None:
    assert b"Cache-Control: public, max-age=300\r\n" in served(entry(library), {}).extra
    assert b"max-age=31536000, immutable\r\n" in served(library.chunks[CHUNK], {}).extra


def test_who_has_it_already_gets_no_body_and_each_form_has_a_tag_of_its_own(library: BrowserLibrary) -> None:
    asset = entry(library)
    plain, zipped = f'"{asset.tag}"', f'"{asset.tag}-gzip"'
    takes = {"accept-encoding": "gzip"}
    for has in (zipped, f"W/{zipped}", f'"other", {zipped}', "*"):
        answer = served(asset, {**takes, "if-none-match": has})
        assert (answer.status, answer.body) == (304, b"")
        assert f"ETag: {zipped}\r\n".encode() in answer.extra
        assert b"Cache-Control: " in answer.extra
        assert b"Vary: " in answer.extra
    assert served(asset, {**takes, "if-none-match": plain}).status == 200
    assert served(asset, {"if-none-match": plain}).status == 304
    assert served(asset, {"if-none-match": '"other"'}).status == 200


def test_the_same_files_have_the_same_tags_and_bytes_after_a_restart(tmp_path: Path) -> None:
    umd = write_package(tmp_path)
    first = BrowserLibrary.read(umd)
    assert BrowserLibrary.read(umd) == first
    (umd / "standalone.js").write_bytes(ENTRY + b"// newer")
    assert BrowserLibrary.read(umd).entry.tag != first.entry.tag
