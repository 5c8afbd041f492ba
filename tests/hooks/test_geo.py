"""The `geo` hook: what of an address it fills in, and what becomes of it when the database is replaced."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from cdpd.clock import SystemClock
from cdpd.config.decode import decode
from cdpd.config.shape import check_shape
from cdpd.hooks.geo import Geo
from cdpd.hooks.places.database import DatabaseError
from cdpd.pipeline.chain import HookError
from tests.hooks.anything import changed, events, received
from tests.hooks.applying import Running, decoded, running
from tests.pipeline.rig import Rig, configuration, received_line

LONDON = {
    "city": {"names": {"en": "London", "fr": "Londres"}},
    "country": {"iso_code": "GB", "names": {"en": "United Kingdom", "fr": "Royaume-Uni"}},
    "location": {"latitude": 51.5142, "longitude": -0.0931, "time_zone": "Europe/London"},
    "subdivisions": [
        {"iso_code": "ENG", "names": {"en": "England", "fr": "Angleterre"}},
        {"iso_code": "LND", "names": {"en": "City of London"}},
    ],
}
SWEDEN = {"country": {"iso_code": "SE", "names": {"en": "Sweden"}}}
ASN = {"autonomous_system_number": 64500, "autonomous_system_organization": "Example Net"}
IN_LONDON = {
    "country": "United Kingdom",
    "region": "England",
    "city": "London",
    "latitude": 51.5142,
    "longitude": -0.0931,
}
ADDRESS = "81.2.69.160"


def write(
    path: Path, records: dict[str, dict[str, Any]], kind: str = "GeoLite2-City", version: int = 6
) -> Path:
    """A database of networks and their records."""
    writer = MMDBWriter(version, kind, ipv4_compatible=version == 6)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    fresh = path.with_suffix(".new")
    writer.to_db_file(str(fresh))
    fresh.rename(path)
    return path


@pytest.fixture
def city(tmp_path: Path) -> Path:
    networks = {
        "81.2.69.0/24": LONDON,
        "2a02:f5c0::/32": SWEDEN,
        "10.0.0.0/8": LONDON,
        "8.8.8.0/24": {"city": "x"},
    }
    return write(tmp_path / "city.mmdb", networks)


@pytest.fixture
async def hook(city: Path, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(Geo, {"path": str(city)}, folder=tmp_path / "state") as hook:
        yield hook


async def test_location_and_time_zone_are_filled_in(hook: Running) -> None:
    context = {"ip": ADDRESS, "locale": "en-GB"}
    assert await hook.context(context) == {**context, "location": IN_LONDON, "timezone": "Europe/London"}


@pytest.mark.parametrize("ip", ["2a02:f5c0::1", "2a02:f5c0:0:0::"])
async def test_of_ipv6_too_as_far_as_the_database_knows(hook: Running, ip: str) -> None:
    assert await hook.context({"ip": ip}) == {"ip": ip, "location": {"country": "Sweden"}}


async def test_an_ipv4_address_in_ipv6s_clothes_is_one(hook: Running) -> None:
    found = await hook.context({"ip": f"::ffff:{ADDRESS}"})
    assert found["location"] == IN_LONDON


@pytest.mark.parametrize(
    "ip",
    [
        *("10.0.0.1", "127.0.0.1", "0.0.0.0", "192.168.1.1", "::1", "fe80::1%eth0", "224.0.0.1"),
        *("1.1.1.1", "8.8.8.8", "", "unknown", "81.2.69", None, 7, [ADDRESS], "1" * 100_000),
    ],
)
async def test_nobodys_addresses_unknown_ones_and_what_is_none_fill_nothing_in(
    hook: Running, ip: Any
) -> None:
    context = {"ip": ip, "location": None}
    assert await hook.context(context) == context


@pytest.mark.parametrize("nothing", [None, "", {}])
async def test_what_is_null_or_empty_is_missing(hook: Running, nothing: Any) -> None:
    found = await hook.context({"ip": ADDRESS, "location": nothing, "timezone": ""})
    assert found == {"ip": ADDRESS, "location": IN_LONDON, "timezone": "Europe/London"}


async def test_a_speed_stays_and_does_not_count_as_a_place(hook: Running) -> None:
    found = await hook.context({"ip": ADDRESS, "location": {"speed": 0, "city": ""}})
    assert found["location"] == {"speed": 0, **IN_LONDON}


@pytest.mark.parametrize("sent", [{"city": "Paris"}, {"latitude": 48.9, "longitude": 2.3}, "Paris", [1]])
async def test_an_event_that_says_where_it_was_is_left_alone(hook: Running, sent: Any) -> None:
    context = {"ip": ADDRESS, "location": sent}
    assert await hook.context(context) == context


async def test_a_time_zone_that_was_sent_stays(hook: Running) -> None:
    found = await hook.context({"ip": ADDRESS, "timezone": "Europe/Paris"})
    assert found == {"ip": ADDRESS, "timezone": "Europe/Paris", "location": IN_LONDON}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"codes": True}, {"location": {**IN_LONDON, "country": "GB", "region": "ENG"}, "timezone": "Europe/London"}),
        (
            {"language": "fr", "fields": ["location"]},
            {"location": {**IN_LONDON, "country": "Royaume-Uni", "region": "Angleterre", "city": "Londres"}},
        ),
        ({"language": "xx", "fields": ["location"]}, {"location": IN_LONDON}),
        ({"fields": ["timezone"]}, {"timezone": "Europe/London"}),
    ],
)  # fmt: skip
async def test_codes_languages_and_fields(
    city: Path, tmp_path: Path, options: dict[str, Any], found: dict[str, Any]
) -> None:
    async with running(Geo, {"path": str(city), **options}, folder=tmp_path / "state") as hook:
        assert await hook.context({"ip": ADDRESS}) == {"ip": ADDRESS, **found}


async def test_a_time_zone_alone_does_not_ask_where_the_event_says_it_was(city: Path, tmp_path: Path) -> None:
    options = {"path": str(city), "fields": ["timezone"]}
    async with running(Geo, options, folder=tmp_path / "state") as hook:
        found = await hook.context({"ip": ADDRESS, "location": {"city": "Paris"}})
    assert found["timezone"] == "Europe/London"


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({}, {"network": {"asn": 64500, "organization": "Example Net"}}),
        (
            {"network": {"wifi": True}},
            {"network": {"wifi": True, "asn": 64500, "organization": "Example Net"}},
        ),
        ({"network": {"asn": 1}}, {"network": {"asn": 1}}),
        ({"network": "wifi"}, {"network": "wifi"}),
    ],
)
async def test_an_asn_database_fills_in_the_network(
    tmp_path: Path, sent: dict[str, Any], found: dict[str, Any]
) -> None:
    path = write(tmp_path / "asn.mmdb", {"81.2.69.0/24": ASN}, "GeoLite2-ASN", version=4)
    async with running(Geo, {"path": str(path)}, folder=tmp_path / "state") as hook:
        assert await hook.context({"ip": ADDRESS, **sent}) == {"ip": ADDRESS, **found}
        assert await hook.context({"ip": "2a02:f5c0::1"}) == {"ip": "2a02:f5c0::1"}


async def test_the_rest_keeps_its_text(hook: Running) -> None:
    event = decoded(received_line(b'{"context":{"n" : 1.10, "n":2,"ip":"81.2.69.160" },"z":1.0}'))
    await hook(event)
    assert b'"context":{"n" : 1.10, "n":2,"ip":"81.2.69.160" ,"location":{"country":"Uni' in event.line()
    assert b'"z":1.0' in event.line()


# -- the file ----------------------------------------------------------------------------------------------------


async def test_without_a_usable_file_the_hook_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.mmdb"
    wrong.write_bytes(b"no database" * 1000)
    other = write(tmp_path / "other.mmdb", {"81.2.69.0/24": {"is_anonymous": True}}, "GeoIP2-Anonymous-IP")
    for path, message in (
        (tmp_path / "gone.mmdb", "there is no file .*gone.mmdb: put a MaxMind DB file"),
        (wrong, "wrong.mmdb is no MaxMind DB file, or not whole"),
        (other, "other.mmdb has no places: it is a 'GeoIP2-Anonymous-IP', and a City, Country, .* is needed"),
        (tmp_path, "cannot be read: .*Is a directory"),
    ):
        with pytest.raises(DatabaseError, match=message):
            async with running(Geo, {"path": str(path)}, folder=tmp_path / "state"):
                pass
    assert list((tmp_path / "state").iterdir()) == []


async def test_the_daemon_is_told_which_hook_did_not_start(tmp_path: Path) -> None:
    config = configuration(pipeline={"hooks": ["geo"]}, hooks={"geo": {"path": str(tmp_path / "gone.mmdb")}})
    async with Rig(tmp_path, clock=SystemClock()).opened() as rig:
        with pytest.raises(HookError, match=r"hook 'geo' did not start: .*there is no file .*gone.mmdb"):
            await rig.chains(config).startup()


async def test_a_file_that_was_replaced_is_read_again_after_a_while(hook: Running, city: Path) -> None:
    assert (await hook.context({"ip": ADDRESS}))["location"]["city"] == "London"
    write(city, {"81.2.69.0/24": SWEDEN})
    await hook.clock.advance(59)
    assert (await hook.context({"ip": ADDRESS}))["location"]["city"] == "London"
    await hook.clock.advance(1)
    assert (await hook.context({"ip": ADDRESS}))["location"] == {"country": "Sweden"}
    assert hook.told.texts("info") == ["the database was replaced and read again"]


async def test_a_file_that_stayed_is_not_read_again(hook: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdpd.hooks.geo.open_database", None)
    for _ in range(3):
        await hook.clock.advance(60)
        assert (await hook.context({"ip": ADDRESS}))["location"] == IN_LONDON
    assert hook.told.entries == []


def spoil(path: Path, how: str) -> None:
    whole = path.read_bytes()
    match how:
        case "removed":
            path.unlink()
        case "emptied in place":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "overwritten in place":
            path.write_bytes(b"?" * len(whole))
        case "damaged inside":
            end = whole.index(b"\xab\xcd\xefMaxMind.com")
            records = whole.index(b"\0" * 16) + 16
            path.write_bytes(whole[:records] + b"\xff" * (end - records) + whole[end:])


@pytest.mark.parametrize("how", ["removed", "emptied in place", "cut", "overwritten in place"])
async def test_a_new_file_that_cannot_be_used_leaves_the_old_one_in_use_and_is_told_once(
    hook: Running, city: Path, how: str
) -> None:
    spoil(city, how)
    for ip in (ADDRESS, "81.2.69.161", "2a02:f5c0::7"):
        await hook.clock.advance(60)
        assert "location" in await hook.context({"ip": ip})
    assert hook.told.texts("error") == ["a new database cannot be used; the old one stays in use"]
    assert str(city) in hook.told.entries[0][2]["error"]
    write(city, {"81.2.69.0/24": SWEDEN})
    await hook.clock.advance(60)
    assert (await hook.context({"ip": ADDRESS}))["location"] == {"country": "Sweden"}


async def test_a_disk_without_room_for_a_copy_is_tried_again(
    hook: Running, city: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write(city, {"81.2.69.0/24": SWEDEN})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", full)
        await hook.clock.advance(60)
        assert (await hook.context({"ip": ADDRESS}))["location"] == IN_LONDON
    assert "No space left on device" in hook.told.entries[0][2]["error"]
    await hook.clock.advance(60)
    assert (await hook.context({"ip": ADDRESS}))["location"] == {"country": "Sweden"}


async def test_a_database_that_is_damaged_inside_loses_no_event_and_is_told_once(
    tmp_path: Path, city: Path
) -> None:
    spoil(city, "damaged inside")
    async with running(Geo, {"path": str(city)}, folder=tmp_path / "state") as hook:
        for ip in (ADDRESS, "81.2.69.161"):
            assert await hook.context({"ip": ip}) == {"ip": ip}
        assert hook.told.texts("error") == ["the database is damaged: some addresses cannot be looked up"]


async def test_what_a_killed_process_left_is_removed(city: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(city, state / "copy-abc.mmdb")
    (state / "else").touch()
    async with running(Geo, {"path": str(city)}, folder=state):
        assert [path.name for path in state.iterdir()] == ["else"]


IP = st.sampled_from([ADDRESS, "2a02:f5c0::1", "8.8.8.8", "10.0.0.1", ""])
PLACE = st.fixed_dictionaries({}, optional={"speed": st.integers(), "city": st.sampled_from(["", "Paris"])})


@given(event=events({"ip": IP, "location": PLACE, "timezone": st.just(""), "network": PLACE}))
def test_any_event_comes_through_with_nothing_but_the_named_fields_added(
    databases: Path, event: dict[str, Any]
) -> None:
    async def through() -> None:
        options = {"path": str(databases / "all.mmdb")}
        async with running(Geo, options, folder=databases / "state") as hook:
            found = received(event)
            await hook(found)
        sections = {"location": tuple(IN_LONDON), "network": ("asn", "organization")}
        paths = [f"context.{section}.{name}" for section, known in sections.items() for name in known]
        assert changed(event, found, *paths, "context.timezone", "context.location", "context.network") == []

    anyio.run(through)


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("databases")
    write(folder / "all.mmdb", {"81.2.69.0/24": {**LONDON, **ASN}, "2a02:f5c0::/32": SWEDEN})
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "missing: a path is needed here"),
        ({"path": "x", "fields": []}, "the list is empty"),
        ({"path": "x", "check": "0s"}, "check: '0s' is too often"),
        ({"path": "x", "check": "soon"}, "'soon' is no duration"),
        ({"path": "x", "lang": "de"}, "unknown key"),
    ],
)
def test_options_that_cannot_be_meant_are_faults_of_the_configuration(
    options: dict[str, Any], message: str
) -> None:
    [fault] = check_shape(options, Geo.Config, decode)
    assert message in f"{fault.message} {fault.suggestion}"
