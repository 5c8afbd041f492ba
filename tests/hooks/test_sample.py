"""The `sample` hook: all of a user's events or none, the same ones everywhere and always."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd.config.decode import decode
from cdpd.config.shape import check_shape
from cdpd.hooks.sample import Sample
from cdpd.hookspecs import Discard
from tests.hooks.anything import VALUES, changed, events, received
from tests.hooks.applying import Running, running


def call(user: Any = "u", **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "A", "userId": user, **fields}


async def outcome(event: dict[str, Any], **options: Any) -> Discard | None:
    async with running(Sample, {"rate": 0, **options}) as hook:
        return (await hook(received(event)))[0]


async def kept_of(hook: Running, users: int, calls: int = 1) -> set[str]:
    """Users all of whose events are kept; the others' are all discarded, or it fails."""
    kept = set()
    for n in range(users):
        found = await hook(*(received(call(f"user-{n}", messageId=f"m{n}-{k}")) for k in range(calls)))
        assert len({discard is None for discard in found}) == 1
        if found[0] is None:
            kept.add(f"user-{n}")
    return kept


async def test_a_tenth_of_10000_users_is_kept_each_with_all_events_or_none() -> None:
    async with running(Sample, {"rate": 0.1}) as hook:
        kept = await kept_of(hook, 10_000, calls=3)
    assert 900 <= len(kept) <= 1100  # 1000 ± 3.3 standard deviations of 30, and always the same


async def test_a_smaller_sample_is_part_of_a_larger_one_and_another_salt_draws_another() -> None:
    kept = {}
    for rate, salt in ((0.05, ""), (0.2, ""), (0.2, "b")):
        async with running(Sample, {"rate": rate, "salt": salt}) as hook:
            kept[rate, salt] = await kept_of(hook, 3000)
    assert kept[0.05, ""] < kept[0.2, ""]
    both = len(kept[0.2, ""] & kept[0.2, "b"])
    assert 80 <= both <= 160  # 4 % of them, by chance


@pytest.mark.parametrize(("user", "salt"), [("user-42", ""), ("ünïcode", "s"), ('quo"te', ""), ("", "x")])
async def test_the_rule_is_the_documented_one(user: str, salt: str) -> None:
    user = user or "0"
    digest = hashlib.blake2b(f"{salt}\0{user}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    assert await outcome(call(user), rate=place * 0.999, salt=salt) is not None
    assert await outcome(call(user), rate=min(place * 1.001, 1), salt=salt) is None


async def test_the_rule_never_changes() -> None:
    async with running(Sample, {"rate": 0.3}) as hook:
        kept = [n for n in range(40) if (await hook(received(call(f"user-{n}"))))[0] is None]
    # As another program says: printf '\0user-%d' $n | b2sum -l 64
    assert kept == [8, 10, 11, 18, 19, 20, 27, 29, 30, 32, 33, 35, 39]


async def test_rate_1_keeps_all_and_rate_0_nothing() -> None:
    for rate, size in ((1, 500), (1.0, 500), (0, 0)):
        async with running(Sample, {"rate": rate}) as hook:
            assert len(await kept_of(hook, 500)) == size


@pytest.mark.parametrize(
    ("by", "fields", "has"),
    [
        ("user", {"userId": "u"}, True),
        ("user", {"userId": "", "anonymousId": "a"}, True),
        ("user", {"userId": None, "anonymousId": " "}, False),
        ("userId", {"userId": None, "anonymousId": "a"}, False),
        ("anonymousId", {"anonymousId": "a"}, True),
        ("groupId", {}, False),
        ("messageId", {"messageId": "m"}, True),
        ("properties.cartId", {"properties": {"cartId": "c"}}, True),
        ("properties.cartId", {"properties": {"cartId": 7}}, True),
        ("properties.cartId", {"properties": {"cartId": False}}, True),
        ("properties.cartId", {"properties": {"cartId": None}}, False),
        ("properties.cartId", {"properties": {"cartId": {}}}, False),
        ("properties.cartId", {"properties": "cartId"}, False),
        ("context.device.id", {"context": {"device": {"id": "d"}}}, True),
        ("context.device.id", {"context": {"device": ["id"]}}, False),
    ],
)
async def test_by_what_and_what_becomes_of_events_without_it(
    by: str, fields: dict[str, Any], has: bool
) -> None:
    found = await outcome(call(**fields), by=by)
    assert (found is not None) == has
    dropped = await outcome(call(**fields), by=by, missing="drop", rate=1)
    assert dropped == (None if has else Discard("sampled", f"no {by} to sample by"))


async def test_a_user_id_counts_before_an_anonymous_one_and_a_number_is_its_text() -> None:
    async with running(Sample, {"rate": 0.5}) as hook:
        for n in range(50):
            cases = [
                call(str(n)),
                call(str(n), anonymousId=f"other-{n}"),
                call(None, anonymousId=str(n)),
                call(n),
            ]
            assert len({discard is None for discard in await hook(*map(received, cases))}) == 1


@pytest.mark.parametrize(
    ("options", "sampled"),
    [
        ({}, ["track A", "track B", "page"]),
        ({"types": ["page"]}, ["page"]),
        ({"events": ["A"]}, ["track A"]),
        ({"events": ["[AB]"]}, ["track A", "track B"]),
        ({"types": ["page"], "events": ["B"]}, ["track B", "page"]),
        ({"types": ["identify"]}, []),
    ],
)
async def test_which_events_are_sampled(options: dict[str, Any], sampled: list[str]) -> None:
    sent = {
        "track A": call(),
        "track B": call(event="B"),
        "page": {"type": "page", "name": "A", "event": "A", "userId": "u"},
    }
    assert [name for name, event in sent.items() if await outcome(event, **options)] == sampled


@pytest.mark.parametrize("record", [True, False])
async def test_what_is_left_out_says_why(record: bool) -> None:
    found = await outcome(call(), rate=1e-9, record=record)
    assert found == Discard("sampled", "outside the sample of 1e-07 % by user", record)


@given(event=events({}), by=st.sampled_from(["user", "properties.a.b", "context.x"]), value=VALUES)
async def test_any_event_comes_through_unchanged(event: dict[str, Any], by: str, value: Any) -> None:
    event = {**event, "properties": {"a": value}}
    async with running(Sample, {"rate": 0.5, "by": by}) as hook:
        found = received(event)
        await hook(found)
    assert changed(event, found) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "missing: a number is needed here"),
        ({"rate": 10}, "expected a number <= 1.0, found 10"),
        ({"rate": -1}, "expected a number >= 0.0, found -1"),
        ({"rate": 0.1, "by": "user_id"}, "by: 'user_id' is nothing to sample by; did you mean \"userId\"?"),
        ({"rate": 0.1, "by": "cartId"}, "or a path in properties, traits, context, integrations"),
        ({"rate": 0.1, "by": "property.cartId"}, "is nothing to sample by"),
        ({"rate": 0.1, "by": "properties..x"}, "is nothing to sample by"),
        ({"rate": 0.1, "types": ["trak"]}, 'did you mean "track"?'),
        ({"rate": 0.1, "seed": "x"}, "unknown key"),
    ],
)
def test_options_that_cannot_be_meant_are_faults_of_the_configuration(
    options: dict[str, Any], message: str
) -> None:
    [fault] = check_shape(options, Sample.Config, decode)
    assert message in f"{fault.message} {fault.suggestion}"
