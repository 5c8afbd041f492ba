"""What each action is given, and where it comes from by default. Source: spec/destinations.md §4."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Struct

from cdpd.destinations.actions import Datetime, Mapped, first, template

WHO = first("$.userId", "$.traits.email")


class Batched(Struct, kw_only=True, frozen=True):
    """What every action has whose operations share a request."""

    enable_batching: Annotated[bool, Mapped(True)] = True
    """False: a request for each operation."""
    batch_size: Annotated[int, Mapped(50)] = 50
    """Operations that share a request at most; no more than 100."""


class Converted(Batched, kw_only=True, frozen=True):
    """What the actions have that send dates."""

    convert_timestamp: Annotated[bool, Mapped(True)] = True
    """Whether dates inside attributes become seconds since the epoch, as Customer.io wants them."""


class Person(Batched, kw_only=True, frozen=True):
    person_id: Annotated[str, Mapped("$.userId")]
    """The person: an id, an e-mail address, or a Customer.io id that begins with `cio_`."""


class DeviceKey(Person, kw_only=True, frozen=True):
    device_id: Annotated[str, Mapped("$.context.device.token")]
    """The device's token."""


class Device(DeviceKey, kw_only=True, frozen=True):
    platform: Annotated[str, Mapped("$.context.device.type")]
    """`ios` or `android`."""
    app_version: Annotated[str | None, Mapped("$.context.app.version")] = None
    """Becomes an attribute."""
    last_used: Annotated[str | None, Mapped("$.timestamp")] = None
    """When it was seen last."""
    attributes: Annotated[dict[str, Any] | None, Mapped("$.properties")] = None
    """Whatever else is known of it."""
    convert_timestamp: Annotated[bool, Mapped(True)] = True
    """Whether dates become seconds since the epoch."""


class Relationship(Person, kw_only=True, frozen=True):
    object_id: Annotated[str, Mapped("$.properties.objectId")]
    """The object that the person has to do with."""
    object_type_id: Annotated[
        str | None, Mapped(first("$.properties.object_type_id", "$.properties.objectTypeId"))
    ] = None
    """Its type; `1` where absent."""
    anonymous_id: Annotated[str | None, Mapped("$.anonymousId")] = None
    """Of whom the person was before."""


class ObjectKey(Batched, kw_only=True, frozen=True):
    object_id: Annotated[str | None, Mapped("$.properties.objectId")] = None
    """The object."""
    object_type_id: Annotated[
        str | None, Mapped(first("$.properties.object_type_id", "$.properties.objectTypeId"))
    ] = None
    """Its type; `1` where absent."""


class Profile(Converted, kw_only=True, frozen=True):
    id: Annotated[str | None, Mapped(WHO)] = None
    """The person: an id, an e-mail address, or a Customer.io id that begins with `cio_`."""
    anonymous_id: Annotated[str | None, Mapped("$.anonymousId")] = None
    """Joins earlier anonymous events to the person."""
    email: Annotated[str | None, Mapped(template("{{traits.email}}"))] = None
    """Their address; an attribute too."""
    created_at: Annotated[str | None, Mapped(first("$.traits.created_at", "$.traits.createdAt"))] = None
    """When they became a person there."""
    group_id: Annotated[str | None, Mapped("$.traits.objectId")] = None
    """An object to relate them to."""
    custom_attributes: Annotated[dict[str, Any] | None, Mapped("$.traits")] = None
    """Everything else about them."""
    relationship_attributes: Annotated[dict[str, Any] | None, Mapped("$.traits.relationshipAttributes")] = (
        None
    )
    """About the person and the object together."""
    timestamp: Annotated[str | None, Mapped("$.timestamp")] = None
    """When this became known."""
    object_type_id: Annotated[
        str | None, Mapped(first("$.traits.object_type_id", "$.traits.objectTypeId"))
    ] = None
    """The object's type; `1` where absent."""


class Event(Converted, kw_only=True, frozen=True):
    """What the three kinds of events have in common."""

    id: Annotated[str | None, Mapped("$.userId")] = None
    """The person: an id, an e-mail address, or a Customer.io id that begins with `cio_`."""
    anonymous_id: Annotated[str | None, Mapped("$.anonymousId")] = None
    """Who they are while they are nobody."""
    event_id: Annotated[str | None, Mapped("$.messageId")] = None
    """By which Customer.io knows doubles."""
    timestamp: Annotated[str | None, Mapped("$.timestamp")] = None
    """When it happened."""
    data: Annotated[dict[str, Any] | None, Mapped("$.properties")] = None
    """Its attributes."""


class Track(Event, kw_only=True, frozen=True):
    name: Annotated[str, Mapped("$.event")]
    """The event's name."""


class Page(Event, kw_only=True, frozen=True):
    url: Annotated[str, Mapped("$.properties.url")]
    """The page's address."""


class Screen(Event, kw_only=True, frozen=True):
    name: Annotated[str, Mapped("$.name")]
    """The screen's name."""


class Thing(Converted, kw_only=True, frozen=True):
    id: Annotated[str, Mapped("$.groupId")]
    """The object: an account, a course …"""
    object_type_id: Annotated[
        str | None, Mapped(first("$.traits.object_type_id", "$.traits.objectTypeId"))
    ] = None
    """Its type; `1` where absent."""
    user_id: Annotated[str | None, Mapped("$.userId")] = None
    """The person to relate to it."""
    anonymous_id: Annotated[str | None, Mapped("$.anonymousId")] = None
    """Or who is nobody yet."""
    created_at: Annotated[str | None, Mapped(first("$.traits.created_at", "$.traits.createdAt"))] = None
    """When it came to be."""
    custom_attributes: Annotated[
        dict[str, Any] | None, Mapped(first("$.traits.objectAttributes", "$.traits"))
    ] = None
    """What is known of it: `traits.objectAttributes`, else all traits."""
    relationship_attributes: Annotated[dict[str, Any] | None, Mapped("$.traits.relationshipAttributes")] = (
        None
    )
    """About the person and the object together."""


class Merge(Batched, kw_only=True, frozen=True):
    primary: Annotated[str, Mapped("$.userId")]
    """Who remains."""
    secondary: Annotated[str, Mapped("$.previousId")]
    """Who becomes part of them."""


class DeliveryReport(Struct, kw_only=True, frozen=True):
    delivery_id: Annotated[str, Mapped("$.properties.deliveryId")]
    """The message, as Customer.io named it."""
    metric: Annotated[
        Literal["delivered", "opened", "clicked", "converted", "spammed", "bounced", "dropped", "deferred"],
        Mapped("$.properties.metric"),
    ]
    """What became of it."""
    recipient: Annotated[str | None, Mapped("$.properties.recipient")] = None
    """To whom it went."""
    reason: Annotated[str | None, Mapped("$.properties.reason")] = None
    """Why it did not arrive."""
    href: Annotated[str | None, Mapped("$.properties.href")] = None
    """The link that was followed."""
    action_name: Annotated[str | None, Mapped("$.properties.actionName")] = None
    """What was chosen in an in-app message …"""
    action_value: Annotated[str | None, Mapped("$.properties.actionValue")] = None
    """… and its value."""
    timestamp: Annotated[Datetime | None, Mapped("$.timestamp")] = None
    """When; now where it cannot be read."""


class ContentReport(Converted, kw_only=True, frozen=True):
    actionType: Annotated[Literal["viewed_content", "clicked_content"], Mapped("$.properties.actionType")]
    """What was done."""
    anonymous_id: Annotated[str | None, Mapped("$.anonymousId")] = None
    """By whom."""
    timestamp: Annotated[str | None, Mapped("$.timestamp")] = None
    """When."""
    data: Annotated[dict[str, Any] | None, Mapped("$.properties")] = None
    """Its attributes."""
