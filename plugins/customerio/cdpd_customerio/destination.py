"""Customer.io: people, devices, objects and events over its Track API v2. Source: spec/destinations.md §4."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from cdpd.destinations.actions import (
    Action,
    ActionDestination,
    ActionsConfig,
    Answer,
    BadEvent,
    Batching,
    ConnectionTest,
    Delivered,
    Preset,
    Result,
    Rule,
    Secret,
    Table,
    TooLarge,
    json_of,
    size_of,
)
from cdpd_customerio import operation
from cdpd_customerio.payloads import (
    ContentReport,
    DeliveryReport,
    Device,
    DeviceKey,
    Merge,
    ObjectKey,
    Page,
    Person,
    Profile,
    Relationship,
    Screen,
    Thing,
    Track,
)

_HOSTS: Final = {"US": "https://track.customer.io", "EU": "https://track-eu.customer.io"}
_LARGEST: Final = 32 * 1024
"""Bytes of an operation."""
_LARGEST_BATCH: Final = 500_000


def _together(payload: Any) -> int:
    return payload.batch_size if payload.enable_batching else 1


_BATCH: Final = Batching(max_events=100, max_bytes=450_000, limit=_together)


class CustomerIO(ActionDestination):
    """Customer.io: people, devices, objects and events, over its Track API v2 (its “Pipelines” are something else)."""

    name = "Customer.io"
    example_settings: ClassVar[Mapping[str, Any]] = {"site_id": "site-1", "api_key": "cio-key"}

    class Config(ActionsConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        site_id: Secret
        """Settings → Account Settings → API Credentials → Track API Keys."""
        api_key: Secret
        """The key beside it."""
        account_region: Literal["US", "EU", "US 🇺🇸", "EU 🇪🇺"] = "US"
        """Where the account's data is kept; with the flag, as in Segment's settings, it means the same."""
        max_requests_per_second: Annotated[float, Meta(gt=0)] | None = 100.0
        """Customer.io's fair use."""
        base_url: str | None = None
        """Another address than Customer.io's own, such as a proxy."""

    answers = Table({404: Rule("bad_config", "is the account in the other region? See `account_region`")})

    async def ask(self, method: str, path: str, **body: Any) -> Answer:
        """Every request of ours; `json`: its body."""
        own: str | None = self.config.base_url
        host = own.rstrip("/") if own else _HOSTS[self.config.account_region[:2]]
        credentials = (self.config.site_id.reveal(), self.config.api_key.reveal())
        return await self.call(method, host + path, basic=credentials, **body)

    async def send(self, operations: Sequence[dict[str, Any]]) -> list[Result]:
        """One operation as it is, several as a batch; a result for each."""
        sizes = [size_of(each) for each in operations]
        too_large = BadEvent(f"the operation has more than {_LARGEST} bytes")
        results: list[Result] = [too_large if size > _LARGEST else None for size in sizes]
        going = [at for at, result in enumerate(results) if result is None]
        if sum(sizes[at] for at in going) > _LARGEST_BATCH:
            return [TooLarge("more than fits in one request") if each is None else each for each in results]
        if going:
            one = len(operations) == 1
            path = "/api/v2/entity" if one else "/api/v2/batch"
            body = operations[0] if one else {"batch": [operations[at] for at in going]}
            answer = await self.ask("POST", path, json=body)
            for at, result in zip(going, self._each(answer, len(going)), strict=True):
                results[at] = result
        return results

    def _each(self, answer: Answer, count: int) -> list[Result]:
        """An answer names the operations that it refuses, also one that says 200 (§4.5)."""
        body = json_of(answer)
        told = body.get("errors") if isinstance(body, dict) else None
        errors = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
        if answer.status not in (200, 207, 400) or not errors:
            return [answer] * count
        results: list[Result] = [Delivered(answer.status)] * count
        for error in errors:
            said = ": ".join(str(error[key]) for key in ("field", "reason", "message") if error.get(key))
            refused = BadEvent(said, answer.status, answer.request, answer.body)
            at = error.get("batch_index")
            if isinstance(at, int) and 0 <= at < count:
                results[at] = refused
            else:
                # Which it means cannot be told. What was taken all the same is known by its id when it comes again.
                return [refused] * count
        return results


def _sends(make: Callable[[Any], dict[str, Any]]) -> Callable[[CustomerIO, Sequence[Any]], Any]:
    async def perform_batch(to: CustomerIO, payloads: Sequence[Any]) -> list[Result]:
        return await to.send([make(payload) for payload in payloads])

    return perform_batch


async def _report(to: CustomerIO, payload: DeliveryReport) -> Answer:
    at = operation.moment(payload.timestamp)
    body = {
        "delivery_id": payload.delivery_id,
        "metric": payload.metric,
        "timestamp": to.env.clock.now_ms() // 1000 if at is None else at,
    }
    more = {"recipient": payload.recipient, "reason": payload.reason, "href": payload.href}
    metadata = {"action_name": payload.action_name, "action_value": payload.action_value}
    body |= {key: value for key, value in more.items() if value is not None}
    chosen = {key: value for key, value in metadata.items() if value is not None}
    return await to.ask("POST", "/api/v1/metrics", json=body | ({"metadata": chosen} if chosen else {}))


_OTHERS: Final = (
    "Application Installed",
    "Application Opened",
    "Application Uninstalled",
    "Device Created or Updated",
    "Device Deleted",
    "Relationship Deleted",
    "User Deleted",
    "User Suppressed",
    "User Unsuppressed",
    "Object Deleted",
    "Report Delivery Event",
    "Report Content Event",
)
"""Events that other actions are for."""


def _any_of(*events: str) -> str:
    return " or ".join(f'event = "{event}"' for event in events)


def _action(
    name: str, title: str, payload: Any, trigger: str, make: Callable[[Any], Any], **more: Any
) -> Action:
    return Action(
        name=name,
        title=title,
        payload=payload,
        trigger=trigger,
        perform_batch=_sends(make),
        batching=more.get("batching", _BATCH),
        doc=more.get("doc", ""),
    )


_BY_KIND: Final = Batching(max_events=100, max_bytes=450_000, by=operation.kind_of, limit=_together)
"""Objects with people and objects with anonymous ones go apart."""
_TRACK: Final = 'type = "track" and ' + " and ".join(f'event != "{event}"' for event in _OTHERS)

CustomerIO.actions = (
    _action("createUpdatePerson", "Create or Update Person", Profile, 'type = "identify"', operation.profile),
    _action(
        "createUpdateDevice",
        "Create or Update Device",
        Device,
        _any_of("Application Installed", "Application Opened", "Device Created or Updated"),
        lambda of: operation.device(of, "add_device"),
    ),
    _action(
        "deleteDevice",
        "Delete Device",
        DeviceKey,
        _any_of("Application Uninstalled", "Device Deleted"),
        lambda of: operation.device(of, "delete_device"),
    ),
    _action(
        "deleteRelationship",
        "Delete Relationship",
        Relationship,
        _any_of("Relationship Deleted"),
        operation.no_relationship,
    ),
    _action(
        "deletePerson",
        "Delete Person",
        Person,
        _any_of("User Deleted"),
        lambda of: operation.person(of, "delete"),
    ),
    _action("deleteObject", "Delete Object", ObjectKey, _any_of("Object Deleted"), operation.no_thing),
    _action("trackEvent", "Track Event", Track, _TRACK, operation.event),
    _action("trackPageView", "Track Page View", Page, 'type = "page"', operation.event),
    _action("trackScreenView", "Track Screen View", Screen, 'type = "screen"', operation.event),
    _action(
        "createUpdateObject",
        "Create or Update Object",
        Thing,
        'type = "group"',
        operation.thing,
        batching=_BY_KIND,
    ),
    _action("mergePeople", "Merge People", Merge, 'type = "alias"', operation.merge),
    _action(
        "suppressPerson",
        "Suppress Person",
        Person,
        _any_of("User Suppressed"),
        lambda of: operation.person(of, "suppress"),
    ),
    _action(
        "unsuppressPerson",
        "Unsuppress Person",
        Person,
        _any_of("User Unsuppressed"),
        lambda of: operation.person(of, "unsuppress"),
    ),
    Action(
        name="reportDeliveryEvent",
        title="Report Delivery Event",
        payload=DeliveryReport,
        trigger=_any_of("Report Delivery Event"),
        perform=_report,
    ),
    _action(
        "reportContentEvent",
        "Report Content Event",
        ContentReport,
        _any_of("Report Content Event"),
        operation.event,
    ),
)
CustomerIO.connection = ConnectionTest(
    lambda to: to.ask("GET", "/auth"), ok="the site id and the key are right, for this region"
)
CustomerIO.presets = tuple(Preset(action.title, action) for action in CustomerIO.actions)
