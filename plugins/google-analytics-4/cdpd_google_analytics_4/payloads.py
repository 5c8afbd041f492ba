"""What every action is given, and the two actions that are not about shopping. Source: spec/destinations.md §1."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Struct, field

from cdpd.destinations.actions import Mapped, first

ANYBODY: Final = first("$.userId", "$.anonymousId")
Consent = Literal["GRANTED", "DENIED"]


class Hit(Struct, kw_only=True, frozen=True):
    """What all actions have, but for the client id, whose name differs."""

    data_stream_type: Annotated[Literal["Web", "Mobile App"], Mapped("Web")] = "Web"
    """`Web` needs the setting `measurement_id` and a client id, `Mobile App` needs `firebase_app_id` and an
    `app_instance_id`."""
    app_instance_id: str | None = None
    """Firebase's id of the installed app, 32 hexadecimal digits; for app streams."""
    user_id: str | None = None
    """Who it is on every device. Not sent unless you map it: Google forbids ids that tell who a person is."""
    timestamp_micros: Annotated[str | None, Mapped("$.timestamp")] = None
    """When it happened: an ISO 8601 time, or microseconds. Google takes what is at most 72 hours old."""
    user_properties: dict[str, Any] | None = None
    """Properties of the user: texts, numbers, true or false; null clears one."""
    engagement_time_msec: Annotated[float | None, Mapped(1)] = None
    """Milliseconds of attention. Reports count a user as active from 1 on."""
    params: dict[str, Any] | None = None
    """More parameters, which win over the action's own; `session_id` among them joins the browser's session."""
    flatten_params: Annotated[bool, Mapped(False)] = False
    """True: nested `params` become `a_b`, lists become one text, and what fits nowhere is left out. False: such an
    event is parked, as Google would drop it silently."""
    ad_user_data_consent: Consent | None = None
    """Whether the user's data may go to Google for advertising."""
    ad_personalization_consent: Consent | None = None
    """Whether it may be used to personalise advertising."""


class ShopHit(Hit, kw_only=True, frozen=True):
    """What all actions of shops have."""

    client_id: Annotated[str | None, Mapped(ANYBODY)] = None
    """The browser: map the browser's own (its `_ga` cookie) to join what it sends itself."""


class CamelHit(Hit, kw_only=True, frozen=True):
    """The other spelling."""

    client_id: Annotated[str | None, Mapped(ANYBODY)] = field(name="clientId", default=None)
    """The browser: map the browser's own (its `_ga` cookie) to join what it sends itself."""


class PageView(CamelHit, kw_only=True, frozen=True):
    page_location: Annotated[str | None, Mapped("$.context.page.url")] = None
    """The page's address."""
    page_referrer: Annotated[str | None, Mapped("$.context.page.referrer")] = None
    """Where the visitor came from."""
    page_title: Annotated[str | None, Mapped("$.context.page.title")] = None
    """The page's title."""


class CustomEvent(CamelHit, kw_only=True, frozen=True):
    name: Annotated[str, Mapped("$.event")]
    """The event's name; spaces become `_`."""
    lowercase: Annotated[bool, Mapped(False)] = False
    """Whether the name is sent in lower case."""


class Item(Struct, kw_only=True, frozen=True):
    """The keys of each of `items`; others are kept too, as parameters of your own."""

    item_id: str | None = None
    """The product's number; this or `item_name` is needed."""
    item_name: str | None = None
    """Its name."""
    affiliation: str | None = None
    """The shop or partner."""
    coupon: str | None = None
    """Of this product alone."""
    currency: str | None = None
    """ISO 4217."""
    discount: float | None = None
    """Off the price of one."""
    index: float | None = None
    """Its place in the list."""
    item_brand: str | None = None
    """Its brand."""
    item_category: str | None = None
    """Its category."""
    item_category2: str | None = None
    """The one below."""
    item_category3: str | None = None
    """And so on."""
    item_category4: str | None = None
    """And so on."""
    item_category5: str | None = None
    """The narrowest."""
    item_list_id: str | None = None
    """The list in which it was shown."""
    item_list_name: str | None = None
    """That list's name."""
    item_variant: str | None = None
    """Colour, size …"""
    location_id: str | None = None
    """Google's place id of where it is."""
    price: float | None = None
    """Of one."""
    quantity: int | None = None
    """How many."""


class PromotedItem(Item, kw_only=True, frozen=True):
    creative_name: str | None = None
    """The promotion's creative."""
    creative_slot: str | None = None
    """Where it stood."""
    promotion_name: str | None = None
    """The promotion's name."""
    promotion_id: str | None = None
    """The promotion."""
