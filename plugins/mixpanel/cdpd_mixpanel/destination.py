"""Mixpanel: events, profiles and groups over its ingestion API. Source: spec/destinations.md §2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

from cdpd.destinations.actions import (
    Action,
    ActionDestination,
    ActionsConfig,
    Answer,
    BadEvent,
    Batching,
    Delivered,
    PayloadValidationError,
    Preset,
    Result,
    Secret,
    json_of,
)
from cdpd_mixpanel import properties
from cdpd_mixpanel.payloads import Alias, Group, Increment, Profile, Purchase, Track

_HOSTS: Final = {
    "US": "https://api.mixpanel.com",
    "EU": "https://api-eu.mixpanel.com",
    "IN": "https://api-in.mixpanel.com",
}
_MOST_INCREMENTS: Final = 20


class Mixpanel(ActionDestination):
    """Mixpanel: events through its import API (doubles are known by `$insert_id`), profiles and groups."""

    name = "Mixpanel"
    example_settings: ClassVar[Mapping[str, Any]] = {"project_token": "mp-token"}

    class Config(ActionsConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        project_token: Secret
        """Project Settings → Access Keys → Project Token."""
        api_secret: Secret | None = None
        """The project's API secret. Default: the token signs imports too."""
        api_region: Literal["US", "EU", "IN"] = "US"
        """Where the project's data is kept."""
        source_name: str | None = None
        """Goes along with every event as `segment_source_name`."""
        strict_mode: Literal["1", "0"] = "1"
        """`1`: Mixpanel checks each event and names those that it refuses. `0`: it drops them silently."""
        base_url: str | None = None
        """Another address than Mixpanel's own, such as a proxy."""

    async def import_events(self, payloads: Sequence[Track]) -> list[Result]:
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
        answer = await self.call("POST", url, json=elements, basic=(secret.reveal(), ""), gzip=True)
        body = json_of(answer)
        failed = body.get("failed_records") if isinstance(body, dict) else None
        if answer.status != 400 or not isinstance(failed, list) or not failed:
            return [answer] * len(payloads)
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
        return self.config.base_url or _HOSTS[self.config.api_region]


async def _import(to: Mixpanel, payloads: Sequence[Track]) -> list[Result]:
    return await to.import_events(payloads)


async def _identify(to: Mixpanel, payload: Profile) -> Result:
    result: Result = None
    if payload.anonymous_id:
        both = _known({"$identified_id": payload.user_id, "$anon_id": payload.anonymous_id})
        event = {"event": "$identify", "properties": {**both, "token": to.token, **to.source}}
        result = await to.post("/track", event)
        if isinstance(result, BadEvent) or (isinstance(result, Answer) and result.status >= 300):
            return result
    if payload.traits:
        whom = payload.user_id or payload.anonymous_id
        about = _known({"$token": to.token, "$distinct_id": whom, "$ip": payload.ip})
        result = await to.post("/engage", {**about, "$set": properties.profile(payload.traits)})
    return result


async def _group(to: Mixpanel, payload: Group) -> Result:
    if not payload.traits:
        raise PayloadValidationError("traits are missing: there is nothing to say of the group")
    key = payload.group_key or "$group_id"
    who = payload.traits.get(payload.group_key or "", payload.group_id)
    whose = {"$token": to.token, "$group_key": key, "$group_id": who}
    return await to.post("/groups", {**whose, "$set": properties.group(payload.traits)})


async def _alias(to: Mixpanel, payload: Alias) -> Result:
    both = _known({"distinct_id": payload.distinct_id, "alias": payload.alias})
    event = {"event": "$create_alias", "properties": {**both, "token": to.token, **to.source}}
    return await to.post("/track", event)


async def _increment(to: Mixpanel, payload: Increment) -> Result:
    if len(payload.increment) > _MOST_INCREMENTS:
        raise PayloadValidationError(f"increment: at most {_MOST_INCREMENTS} properties")
    added = {name: _number(name, value) for name, value in payload.increment.items()}
    whom = payload.user_id or payload.anonymous_id
    about = _known({"$token": to.token, "$distinct_id": whom, "$ip": payload.ip})
    return await to.post("/engage", {**about, "$add": added})


def _number(name: str, value: Any) -> int | float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise PayloadValidationError(f"increment.{name}: a number is expected")


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


_BATCH: Final = Batching(max_events=2000, max_bytes=1_500_000)
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
    batching=Batching(
        max_events=2000, max_bytes=200_000, weight=lambda payload: 1 + len(payload.products or ())
    ),
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
