"""Mixpanel: events, profiles and groups over its ingestion API. Source: spec/destinations.md §2."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET

from cdpd.destinations.actions import (
    Action,
    ActionDestination,
    ActionsConfig,
    Answer,
    BadEvent,
    Batching,
    ConnectionTest,
    Delivered,
    DestinationEnv,
    Outcome,
    PayloadValidationError,
    Preset,
    RateLimited,
    Result,
    Secret,
    Skipped,
    TooLarge,
    json_of,
    to_json,
)
from cdpd_mixpanel import properties
from cdpd_mixpanel.payloads import Alias, Group, Increment, Profile, Purchase, Track

_HOSTS: Final = {
    "US": "https://api.mixpanel.com",
    "EU": "https://api-eu.mixpanel.com",
    "IN": "https://api-in.mixpanel.com",
}
_MOST_INCREMENTS: Final = 20
_MOST_BYTES: Final = 2_000_000
"""Of a request with several events."""
_FIRST_WAIT: Final = 2.0
_LONGEST_WAIT: Final = 60.0
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class Mixpanel(ActionDestination):
    """Mixpanel: events through its import API (doubles are known by `$insert_id`), profiles and groups."""

    name = "Mixpanel"
    example_settings: ClassVar[Mapping[str, Any]] = {"project_token": "mp-token"}

    class Config(ActionsConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        project_token: Secret
        """Project Settings → Access Keys → Project Token."""
        api_secret: Secret | None = None
        """The project's API secret. Default: the token signs imports too."""
        api_region: Literal["US", "EU", "IN", "US 🇺🇸", "EU 🇪🇺", "IN 🇮🇳"] = "US"
        """Where the project's data is kept; with the flag, as in Segment's settings, it means the same."""
        source_name: str | None = None
        """Goes along with every event as `segment_source_name`."""
        strict_mode: Literal["1", "0"] = "1"
        """`1`: Mixpanel checks each event and names those that it refuses. `0`: it drops them silently."""
        base_url: str | None = None
        """Another address than Mixpanel's own, such as a proxy."""

    def __init__(self, config: Any, env: DestinationEnv) -> None:
        super().__init__(config, env)
        self._wait = 0.0
        """Seconds, while Mixpanel says that it is too much …"""
        self._wait_until = 0.0
        """… and until when (monotonic)."""

    def outcome(self, answer: Answer) -> Outcome:
        """Told to slow down without a time: 2 s, and twice as long each time in a row, up to 60 s (§2.6)."""
        outcome = super().outcome(answer)
        if isinstance(outcome, Delivered):
            self._wait = 0.0
        if not isinstance(outcome, RateLimited) or outcome.after is not None:
            return outcome
        now = self.env.clock.monotonic()
        if now >= self._wait_until or not self._wait:
            self._wait = min(max(self._wait * 2, _FIRST_WAIT), _LONGEST_WAIT)
            self._wait_until = now + self._wait
        return msgspec.structs.replace(outcome, after=self._wait)

    async def import_events(self, payloads: Sequence[Track]) -> Result | list[Result]:
        """One request for all; a result for each payload, of which a purchase has several elements (§2.6)."""
        now, source = self.env.clock.now_ms(), self.config.source_name
        elements: list[dict[str, Any]] = []
        owners: list[int] = []
        for owner, payload in enumerate(payloads):
            made = properties.events(payload, source, now)
            elements += made
            owners += [owner] * len(made)
        secret = self.config.api_secret or self.config.project_token
        url = f"{self._host}/import?strict={self.config.strict_mode}"
        sent = to_json(elements)
        if len(sent) > _MOST_BYTES and len(payloads) > 1:
            return TooLarge(f"more than {_MOST_BYTES} bytes for one request")
        answer = await self.call(
            "POST", url, body=sent, headers=_JSON, basic=(secret.reveal(), ""), gzip=True
        )
        body = json_of(answer)
        failed = body.get("failed_records") if isinstance(body, dict) else None
        if answer.status != 400 or not isinstance(failed, list) or not failed:
            return answer
        # All but those that are named were imported.
        results: list[Result] = [Delivered(answer.status)] * len(payloads)
        for record in failed:
            at = record.get("index") if isinstance(record, dict) else None
            if isinstance(at, int) and 0 <= at < len(owners):
                said = f"{record.get('field', '')}: {record.get('message', '')}"
                results[owners[at]] = BadEvent(said, answer.status, answer.request, answer.body)
        return results

    async def post(self, path: str, data: dict[str, Any]) -> Result:
        """`/track`, `/engage`, `/groups`: the answer's body says whether it was taken."""
        answer = await self.call("POST", self._host + path, form={"data": data})
        body = json_of(answer)
        status = body.get("status") if isinstance(body, dict) else body
        if answer.status == 200 and status == 0:
            said = body.get("error") if isinstance(body, dict) else ""
            return BadEvent(f"it was not taken {said or ''}".rstrip(), 200, answer.request, answer.body)
        return answer

    @property
    def token(self) -> str:
        token: str = self.config.project_token.reveal()
        return token

    @property
    def source(self) -> dict[str, str]:
        name = self.config.source_name
        return {"segment_source_name": name} if name else {}

    @property
    def _host(self) -> str:
        own: str | None = self.config.base_url
        return own.rstrip("/") if own else _HOSTS[self.config.api_region[:2]]


async def _import(to: Mixpanel, payloads: Sequence[Track]) -> Result | list[Result]:
    return await to.import_events(payloads)


async def _identify(to: Mixpanel, payload: Profile) -> Result:
    result: Result = Skipped("NOTHING_TO_SEND")
    refused: Outcome | None = None
    if payload.anonymous_id:
        both = _given({"$identified_id": payload.user_id, "$anon_id": payload.anonymous_id})
        event = {"event": "$identify", "properties": {**both, "token": to.token, **to.source}}
        joined = await to.post("/track", event)
        result = to.outcome(joined) if isinstance(joined, Answer) else joined
        if isinstance(
            result, BadEvent
        ):  # no reason to lose the profile as well, as it will be refused each time
            refused = result
        elif not isinstance(result, Delivered):
            return result
    if payload.traits:
        whom = payload.user_id or payload.anonymous_id
        about = _given({"$token": to.token, "$distinct_id": whom, "$ip": payload.ip or UNSET})
        result = await to.post("/engage", {**about, "$set": properties.profile(payload.traits)})
        if refused is not None and isinstance(result, Answer):
            result = to.outcome(result)
    return refused if refused is not None and isinstance(result, Delivered) else result


async def _group(to: Mixpanel, payload: Group) -> Result:
    if payload.traits is None:
        raise PayloadValidationError("traits are missing: there is nothing to say of the group")
    key = payload.group_key or "$group_id"
    who = payload.traits.get(key) or payload.group_id
    whose = {"$token": to.token, "$group_key": key, "$group_id": who}
    return await to.post("/groups", {**whose, "$set": properties.group(payload.traits)})


async def _alias(to: Mixpanel, payload: Alias) -> Result:
    both = _given({"distinct_id": payload.distinct_id or UNSET, "alias": payload.alias})
    event = {"event": "$create_alias", "properties": {**both, "token": to.token, **to.source}}
    return await to.post("/track", event)


async def _increment(to: Mixpanel, payload: Increment) -> Result:
    if len(payload.increment) > _MOST_INCREMENTS:
        raise PayloadValidationError(f"increment: at most {_MOST_INCREMENTS} properties")
    added = {name: _number(name, value) for name, value in payload.increment.items()}
    whom = payload.user_id or payload.anonymous_id
    about = _given({"$token": to.token, "$distinct_id": whom, "$ip": payload.ip or UNSET})
    return await to.post("/engage", {**about, "$add": added})


def _number(name: str, value: Any) -> int | float:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise PayloadValidationError(f"increment.{name}: a number is expected")


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is absent; a null is passed on."""
    return {key: value for key, value in fields.items() if value is not UNSET}


def _together(payload: Track) -> int:
    return payload.batch_size if payload.enable_batching else 1


def _elements(payload: Purchase) -> int:
    return 1 + (len(payload.products or ()) if payload.generatePurchaseEventPerProduct else 0)


_JSON: Final = {"Content-Type": "application/json"}
_BATCH: Final = Batching(max_events=2000, max_bytes=1_500_000, limit=_together)
TRACK: Final = Action(
    name="trackEvent",
    title="Track Event",
    payload=Track,
    trigger='type = "track"',
    perform_batch=_import,
    batching=_BATCH,
)
PURCHASE: Final = Action(
    name="trackPurchase",
    title="Track Purchase",
    doc="An event for the order, and one for each of its products.",
    payload=Purchase,
    trigger='type = "track"',
    perform_batch=_import,
    batching=Batching(max_events=2000, max_bytes=200_000, weight=_elements, limit=_together),
)
IDENTIFY: Final = Action(
    name="identifyUser",
    title="Identify User",
    payload=Profile,
    trigger='type = "identify"',
    perform=_identify,
)
GROUP: Final = Action(
    name="groupIdentifyUser",
    title="Group Identify User",
    payload=Group,
    trigger='type = "group"',
    perform=_group,
)
ALIAS: Final = Action(name="alias", title="Alias", payload=Alias, perform=_alias)
INCREMENT: Final = Action(
    name="incrementProperties",
    title="Increment Properties",
    payload=Increment,
    trigger='type = "track"',
    perform=_increment,
)


async def _validate(to: Mixpanel) -> Answer:
    own: str | None = to.config.base_url
    host = own.rstrip("/") if own else "https://mixpanel.com"
    return await to.call(
        "POST", f"{host}/api/app/validate-project-credentials/", json={"project_token": to.token}
    )


Mixpanel.connection = ConnectionTest(
    _validate, ok="Mixpanel knows the project token; an `api_secret` is tried by the first events alone"
)
Mixpanel.actions = (TRACK, PURCHASE, IDENTIFY, GROUP, ALIAS, INCREMENT)


def _viewed(what: str) -> dict[str, Any]:
    return {
        "event": {
            "@if": {
                "blank": {"@path": "$.name"},
                "then": {"@template": "Viewed {{name}}"},
                "else": f"Viewed {what}",
            }
        }
    }


Mixpanel.presets = (
    Preset("Track Calls", TRACK, 'type = "track" and event != "Order Completed"'),
    Preset("Order Completed Calls", PURCHASE, 'type = "track" and event = "Order Completed"'),
    Preset("Page Calls", TRACK, 'type = "page"', _viewed("Page")),
    Preset("Screen Calls", TRACK, 'type = "screen"', _viewed("Screen")),
    Preset("Identify Calls", IDENTIFY),
    Preset("Group Calls", GROUP),
)
