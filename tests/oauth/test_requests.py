"""Token requests: what gets a token, and how everything else is refused."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpd import metrics as names
from cdpd.oauth.contract import MAX_BODY
from cdpd.oauth.refusal import Refusal, bad_request

from .conftest import FORM, Rig, app, config
from .keys import NOW, SERVER, claims, form, private_pem, public_pem, signed

DESCRIPTION = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,500}")
"""RFC 6749 §5.2."""


async def test_a_signed_assertion_gets_a_token_that_is_good_for_its_scopes(rig: Rig) -> None:
    answer = await rig.ask()
    token = answer.document["access_token"]
    assert (answer.status, answer.retry_after) == (200, None)
    assert answer.document == {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": 86400,
        "scope": "tracking_api:write",
    }
    assert re.fullmatch(r"cdp_at_[A-Za-z0-9_-]{43}", token)
    grant = rig.server.grant(token)
    assert grant is not None
    assert (grant.app, grant.scopes) == ("billing", {"tracking_api:write"})
    assert rig.metrics.get(names.TOKENS, "issued") == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda: form(encoded=True), id="percent-encoded"),
        pytest.param(lambda: form(scope=None), id="without scope"),
        pytest.param(lambda: form(scope=""), id="empty scope"),
        pytest.param(lambda: form(scope="tracking_api:write tracking_api:write"), id="scope twice"),
        pytest.param(lambda: form(client_id="billing"), id="client_id"),
        pytest.param(lambda: form(more="1"), id="unknown field"),
    ],
)
async def test_forms_are_taken_as_clients_write_them(rig: Rig, body: Any) -> None:
    await rig.get(body())


@pytest.mark.parametrize("content_type", [FORM, FORM.upper(), f"{FORM}; charset=utf-8", f"{FORM};a=b", ""])
async def test_the_content_type_of_a_form_is_taken_in_all_its_forms(rig: Rig, content_type: str) -> None:
    assert (await rig.ask(content_type=content_type)).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None},
        {"iss": SERVER},
        {"iss": "somebody"},
        {"aud": f"{SERVER}/"},
        {"aud": [SERVER]},
        {"aud": ["https://other.example", f"{SERVER}/"]},
        {"aud": f"{SERVER}/token"},
        {"aud": f"{SERVER}/v1"},
        {"aud": f"{SERVER}/v1/oauth/token"},
        {"aud": "http://localhost:8080"},
        {
            "iat": NOW - 5.25,
            "exp": NOW + 54.75,
        },  # as analytics-node writes it once it knows its clock's error
        {"iat": NOW + 59, "exp": NOW + 119},
        {"iat": NOW - 119, "exp": NOW - 59},
        {"nbf": NOW - 5},
        {"jti": "x" * 255},
        {"more": {"deep": [1]}},
    ],
)
async def test_claims_that_hold(rig: Rig, changed: dict[str, Any]) -> None:
    await rig.get(form(signed(claims(**changed))))


@pytest.mark.parametrize("path", ["", "/", "/v1", "/token", "/oauth/token"])
async def test_public_url_and_audience_name_the_server(rig: Rig, path: str) -> None:
    public = config("https://cdp.example.com/")
    await rig.apply(public)
    await rig.get(form(signed(claims(aud=f"https://cdp.example.com{path}"))))
    await rig.apply(
        config("https://cdp.example.com", billing=app(audience=["urn:cdp", "https://x.example/y/"]))
    )
    assert (await rig.ask(form(signed(claims(aud=f"https://cdp.example.com{path}"))))).status == 401
    await rig.get(form(signed(claims(aud="urn:cdp"))))
    await rig.get(form(signed(claims(aud="https://x.example/y"))))


REFUSED = [
    # form → status, error, text
    (lambda: form(grant_type=None), 400, "invalid_request", "grant_type is missing"),
    (lambda: form(grant_type="password"), 400, "unsupported_grant_type", "client_credentials"),
    (lambda: form(client_assertion_type=None), 400, "invalid_request", "client_assertion_type is missing"),
    (lambda: form(client_assertion_type="x"), 400, "invalid_request", "jwt-bearer"),
    (
        lambda: form("").replace(b"client_assertion=&", b""),
        400,
        "invalid_request",
        "client_assertion is missing",
    ),
    (
        lambda: form().replace(b"client_assertion=", b"client_secret="),
        400,
        "invalid_request",
        "sign a client_assert",
    ),
    (lambda: form() + b"&scope=x", 400, "invalid_request", "'scope' is given twice"),
    (lambda: b"", 400, "invalid_request", "grant_type is missing"),
    (lambda: b"{}", 400, "invalid_request", "grant_type is missing"),
    (lambda: b"\xff\xfe=1", 400, "invalid_request", "no form in UTF-8"),
    (lambda: form() + b"&a=%ff", 400, "invalid_request", "no form in UTF-8"),
    (lambda: b"&".join(b"a%d=1" % i for i in range(60)), 400, "invalid_request", "50 fields"),
    (lambda: form("x" * 20_000), 400, "invalid_request", "16384 characters"),
    (lambda: form() + b"&a=" + b"x" * MAX_BODY, 413, "invalid_request", "65536 bytes"),
    (lambda: form(scope="functions:write"), 400, "invalid_scope", "may have tracking_api:write"),
    (lambda: form(scope='"\\\u00fc'), 400, "invalid_scope", "may have"),
    (lambda: form(client_id="other"), 401, "invalid_client", "client_id is not"),
    (lambda: form("a.b"), 401, "invalid_client", "three parts"),
    (lambda: form("a.b.c.d"), 401, "invalid_client", "three parts"),
    (lambda: form("a.b.c"), 401, "invalid_client", "header of client_assertion cannot be read"),
    (lambda: form(signed(kid=None)), 401, "invalid_client", "there is no kid"),
    (lambda: form(signed(kid="k2")), 401, "invalid_client", "no app 'billing' has a key with the id 'k2'"),
    (lambda: form(signed(claims(sub="x"))), 401, "invalid_client", "no app 'x' has a key with the id 'k1'"),
    (lambda: form(signed(claims(sub=None))), 401, "invalid_client", "payload of client_assertion"),
    (
        lambda: form(signed(key="stranger")),
        401,
        "invalid_client",
        "the signature is not that of the key 'k1'",
    ),
    (lambda: form(signed(algorithm="RS384")), 401, "invalid_client", "only RS256"),
    (lambda: form(signed(algorithm="PS256")), 401, "invalid_client", "only RS256"),
    (lambda: form(jwt.encode(claims(), "", "none", {"kid": "k1"})), 401, "invalid_client", "only RS256"),
    (lambda: form(signed_with_the_public_key()), 401, "invalid_client", "only RS256"),
    (lambda: form(signed(crit=["b64"], b64=True)), 401, "invalid_client", "crit"),
    (
        lambda: form(signed(claims(aud="https://other.example"))),
        401,
        "invalid_client",
        f"this server is {SERVER}",
    ),
    (lambda: form(signed(claims(aud=[]))), 401, "invalid_client", "is meant for"),
    (lambda: form(signed(claims(aud=None))), 401, "invalid_client", "missing required field `aud`"),
    (lambda: form(signed(claims(aud=7))), 401, "invalid_client", "$.aud"),
    (lambda: form(signed(claims(jti=None))), 401, "invalid_client", "missing required field `jti`"),
    (lambda: form(signed(claims(jti=""))), 401, "invalid_client", "jti"),
    (lambda: form(signed(claims(jti="x" * 256))), 401, "invalid_client", "jti"),
    (lambda: form(signed(claims(iat=None))), 401, "invalid_client", "missing required field `iat`"),
    (lambda: form(signed(claims(exp=None))), 401, "invalid_client", "missing required field `exp`"),
    (lambda: form(signed(claims(exp="soon"))), 401, "invalid_client", "$.exp"),
    (lambda: form(signed(claims(exp=True))), 401, "invalid_client", "$.exp"),
    (lambda: form(signed(claims(nbf=NOW + 61))), 401, "invalid_client", "not valid yet"),
    (lambda: form(signed(claims(iat=NOW, exp=NOW + 62))), 401, "invalid_client", "iat + 60 seconds"),
    (lambda: form(signed(claims(iat=NOW, exp=NOW))), 401, "invalid_client", "expires before it was issued"),
    (lambda: form(signed(claims(exp=NOW - 60, iat=NOW - 120))), 400, "invalid_request", "Token is expired"),
    (lambda: form(signed(claims(NOW + 66))), 400, "invalid_request", "Token used before issued"),
]


def signed_with_the_public_key() -> str:
    """What breaks verifiers that take any algorithm: HMAC, with the public key as the secret."""
    header, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "k1"}, claims())
    )
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    mac = hmac.sign(header + b"." + payload, public_pem().encode())
    return b".".join((header, payload, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()


@pytest.mark.parametrize(("body", "status", "error", "text"), REFUSED, ids=range(len(REFUSED)))
async def test_everything_else_is_refused_and_told_why(
    rig: Rig, body: Any, status: int, error: str, text: str
) -> None:
    answer = await rig.ask(body())
    assert (answer.status, answer.document["error"]) == (status, error), answer
    assert text in answer.document["error_description"]
    assert DESCRIPTION.fullmatch(answer.document["error_description"])
    assert set(answer.document) == {"error", "error_description"}
    assert rig.metrics.get(names.TOKENS, error) == 1
    assert rig.server.tokens() == []


@pytest.mark.parametrize("skew", [-116, 66])
async def test_a_clock_that_is_far_off_is_told_in_the_words_that_the_python_sdk_acts_on(
    rig: Rig, skew: int
) -> None:
    answer = await rig.ask(form(signed(claims(NOW + skew))))
    assert answer.status == 400
    assert answer.document in (
        {"error": "invalid_request", "error_description": "Token is expired"},
        {"error": "invalid_request", "error_description": "Token used before issued"},
    )
    await rig.get(form(signed(claims(NOW + skew - skew))))


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x"]
)
async def test_what_is_no_form_is_refused(rig: Rig, content_type: str) -> None:
    answer = await rig.ask(content_type=content_type)
    assert (answer.status, answer.document["error"]) == (415, "invalid_request")
    assert FORM in answer.document["error_description"]


async def test_an_assertion_is_good_once(rig: Rig) -> None:
    assertion = signed()
    await rig.get(form(assertion))
    answer = await rig.ask(form(assertion))
    assert (answer.status, answer.document["error"]) == (401, "invalid_client")
    assert "was used before" in answer.document["error_description"]


async def test_an_assertion_is_good_once_until_it_has_expired_and_then_it_is_too_old(rig: Rig) -> None:
    assertion = signed()
    await rig.get(form(assertion))
    for seconds, said in ((54, "used before"), (60.999, "used before"), (0.001, "Token is expired")):
        await rig.clock.advance(seconds)
        answer = await rig.ask(form(assertion))
        assert said in answer.document["error_description"]


async def test_another_app_may_use_the_same_id_of_an_assertion(rig: Rig) -> None:
    await rig.apply(config(billing=app(), crm=app()))
    await rig.get(form(signed(claims(jti="1"))))
    await rig.get(form(signed(claims(jti="1", sub="crm"))))
    assert (await rig.ask(form(signed(claims(jti="1"))))).status == 401


async def test_a_refused_assertion_is_not_used_up(rig: Rig) -> None:
    assertion = signed()
    assert (await rig.ask(form(assertion, scope="functions:write"))).status == 400
    await rig.get(form(assertion))


async def test_each_of_an_apps_keys_gets_tokens(rig: Rig) -> None:
    await rig.apply(config(billing=app("", "second")))
    await rig.get(form(signed()))
    await rig.get(form(signed(kid="k2", key="second")))
    assert (await rig.ask(form(signed(kid="k2")))).status == 401


async def test_a_token_has_what_was_asked_for_else_all_that_its_app_may_have(rig: Rig) -> None:
    both = ["tracking_api:write", "functions:write"]
    await rig.apply(config(billing=app(scopes=both)))
    for scope, wanted in ((None, both), ("functions:write", ["functions:write"]), (" ".join(both), both)):
        answer = await rig.ask(form(scope=scope))
        grant = rig.server.grant(answer.document["access_token"])
        assert grant is not None
        assert grant.scopes == set(wanted)
        assert answer.document["scope"] == " ".join(sorted(wanted))


def test_a_description_has_only_the_characters_that_it_may_have() -> None:
    assert bad_request('a "b" \\ ü \n').description == "a 'b' ? ? ?"
    assert len(Refusal(400, "x", "y" * 9999).description) == 500


# -- mangled ------------------------------------------------------------------------------------------------


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A good request with something in it cut, put in, or turned."""
    body = bytearray(form())
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(body) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                body[place] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del body[place : place + draw(st.integers(1, 40))]
            case 2:
                body[place:place] = draw(st.binary(max_size=20))
            case _:
                body[place:place] = b"." * draw(st.integers(1, 3))
    return bytes(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names_of_claims = st.sampled_from(["sub", "aud", "iat", "exp", "jti", "nbf", "iss"])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=mangled())
async def test_a_mangled_request_is_refused_and_breaks_nothing(rig: Rig, body: bytes) -> None:
    await rig.clock.advance(1)
    answer = await rig.ask(body)
    assert answer.status in (200, 400, 401)
    assert answer.status == 200 or DESCRIPTION.fullmatch(answer.document["error_description"])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=st.dictionaries(names_of_claims, json_values, min_size=1, max_size=3))
async def test_whatever_an_app_claims_is_answered(rig: Rig, changed: dict[str, Any]) -> None:
    await rig.clock.advance(1)
    payload = claims(rig.clock.now_ms() / 1000) | changed
    assertion = jwt.PyJWS().encode(json.dumps(payload).encode(), private_pem(), "RS256", {"kid": "k1"})
    assert (await rig.ask(form(assertion))).status in (200, 400, 401)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.binary(max_size=60), min_size=3, max_size=3), header=json_values)
async def test_whatever_the_parts_of_an_assertion_hold_is_answered(
    rig: Rig, parts: list[bytes], header: object
) -> None:
    await rig.clock.advance(1)
    parts[0] = json.dumps(header).encode()
    assertion = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    assert (await rig.ask(form(assertion))).status == 401


@pytest.mark.parametrize("deep", ["[" * 9000, '{"a":' * 2000])
async def test_deep_nesting_is_refused(rig: Rig, deep: str) -> None:
    text = base64.urlsafe_b64encode(f'{{"alg":"RS256","kid":"k1","x":{deep}'.encode()).decode().rstrip("=")
    rest = signed().split(".")
    assert (await rig.ask(form(f"{text}.{rest[1]}.{rest[2]}"))).status == 401
    payload = jwt.PyJWS().encode(
        f'{{"sub":"billing","x":{deep}'.encode(), private_pem(), "RS256", {"kid": "k1"}
    )
    assert (await rig.ask(form(payload))).status == 401


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ("grant_type is 'a': only b is served", "grant_type is '…': only b is served"),
        ("no app 'it's me' has 'x' here", "no app '…' here"),
        ("open 'end", "open '…'"),
        ("scope is missing", "scope is missing"),
    ],
)
def test_a_refusal_is_logged_without_what_it_quotes(description: str, told: str) -> None:
    assert Refusal(400, "invalid_request", description).for_log == told
