"""What each action is given, and where it comes from by default. Source: spec/destinations.md §2."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Struct, UnsetType

from cdpd.destinations.actions import Datetime, Mapped, Shape, each, first

ANYBODY = first("$.userId", "$.anonymousId")


class Campaign(Struct, kw_only=True, frozen=True):
    """The keys of `utm_properties`."""

    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None


class UserAgentData(Struct, kw_only=True, frozen=True):
    """The keys of `userAgentData`, by their names in browsers."""

    mobile: bool | None = None
    platform: str | None = None
    architecture: str | None = None
    bitness: str | None = None
    model: str | None = None
    platformVersion: str | None = None
    uaFullVersion: str | None = None
    wow64: bool | None = None


class Product(Struct, kw_only=True, frozen=True):
    """The keys of each of `products`; others are kept too."""

    product_id: str | None = None
    sku: str | None = None
    category: str | None = None
    name: str | None = None
    brand: str | None = None
    variant: str | None = None
    price: float | None = None
    quantity: int | None = None
    coupon: str | None = None
    position: float | None = None
    url: str | None = None
    image_url: str | None = None


class Track(Struct, kw_only=True, frozen=True):
    event: Annotated[str, Mapped("$.event")]
    """The event's name."""
    distinct_id: Annotated[str | None, Mapped(ANYBODY)] = None
    """Whose event it is; without one it counts for no user."""
    anonymous_id: Annotated[str | None, Mapped("$.anonymousId")] = None
    """`$device_id`, and `$anon_id`."""
    user_id: Annotated[str | None, Mapped("$.userId")] = None
    """`$user_id`, and `$identified_id`."""
    group_id: Annotated[str | None, Mapped("$.context.groupId")] = None
    """`$group_id`."""
    insert_id: Annotated[str | None, Mapped("$.messageId")] = None
    """By which Mixpanel knows doubles."""
    time: Annotated[Datetime | None, Mapped("$.timestamp")] = None
    """When it happened; now where absent."""
    app_name: Annotated[str | None, Mapped("$.context.app.name")] = None
    """`$app_name`."""
    app_namespace: Annotated[str | None, Mapped("$.context.app.namespace")] = None
    """`$app_namespace`."""
    app_build: Annotated[str | None, Mapped("$.context.app.build")] = None
    """`$app_build_number`."""
    app_version: Annotated[str | None, Mapped("$.context.app.version")] = None
    """`$app_version_string`."""
    os_name: Annotated[str | None, Mapped("$.context.os.name")] = None
    """`$os`."""
    os_version: Annotated[str | None, Mapped("$.context.os.version")] = None
    """`$os_version`."""
    device_id: Annotated[str | None, Mapped("$.context.device.id")] = None
    """Taken, but not sent: Mixpanel's device is the anonymous id."""
    device_type: Annotated[str | None, Mapped("$.context.device.type")] = None
    """`$device_type`."""
    device_name: Annotated[str | None, Mapped("$.context.device.name")] = None
    """`$device`, and `$device_name`."""
    device_manufacturer: Annotated[str | None, Mapped("$.context.device.manufacturer")] = None
    """`$manufacturer`."""
    device_model: Annotated[str | None, Mapped("$.context.device.model")] = None
    """`$model`."""
    bluetooth: Annotated[bool | None, Mapped("$.context.network.bluetooth")] = None
    """`$bluetooth_enabled`."""
    carrier: Annotated[str | None, Mapped("$.context.network.carrier")] = None
    """`$carrier`."""
    cellular: Annotated[bool | None, Mapped("$.context.network.cellular")] = None
    """`$cellular_enabled`."""
    wifi: Annotated[bool | None, Mapped("$.context.network.wifi")] = None
    """`$wifi_enabled`."""
    country: Annotated[str | None, Mapped("$.context.location.country")] = None
    """`mp_country_code`."""
    region: Annotated[str | None, Mapped("$.context.location.region")] = None
    """Taken, but not sent."""
    language: Annotated[str | None, Mapped("$.context.locale")] = None
    """`$locale`."""
    library_name: Annotated[str | None, Mapped("$.context.library.name")] = None
    """Part of `mp_lib`."""
    library_version: Annotated[str | None, Mapped("$.context.library.version")] = None
    """`$lib_version`."""
    ip: Annotated[str | None, Mapped("$.context.ip")] = None
    """By which Mixpanel finds the place."""
    idfa: Annotated[str | None, Mapped(first("$.context.device.advertisingId", "$.context.device.idfa"))] = (
        None
    )
    """`$ios_ifa`."""
    url: Annotated[str | None, Mapped("$.context.page.url")] = None
    """`$current_url`."""
    screen_width: Annotated[float | None, Mapped("$.context.screen.width")] = None
    """`$screen_width`."""
    screen_height: Annotated[float | None, Mapped("$.context.screen.height")] = None
    """`$screen_height`."""
    screen_density: Annotated[float | None, Mapped("$.context.screen.density")] = None
    """`$screen_density`."""
    referrer: Annotated[str | None, Mapped("$.context.page.referrer")] = None
    """`$referrer`."""
    userAgent: Annotated[str | None, Mapped("$.context.userAgent")] = None
    """Tells `$browser` and `$browser_version`."""
    advertising_id: Annotated[str | None, Mapped("$.context.device.advertisingId")] = None
    """`advertising_id`."""
    ad_tracking_enabled: Annotated[str | None, Mapped("$.context.device.adTrackingEnabled")] = None
    """`ad_tracking_enabled`."""
    timezone: Annotated[str | None, Mapped("$.context.timezone")] = None
    """`timezone`."""
    app_platform: Annotated[str | None, Mapped("$.context.app.platform")] = None
    """`app_platform`."""
    name: Annotated[str | None, Mapped(first("$.event", "$.name"))] = None
    """`event_original_name`."""
    event_properties: Annotated[dict[str, Any] | None, Mapped("$.properties")] = None
    """The event's own properties, laid over all the others."""
    context: Annotated[dict[str, Any] | None, Mapped("$.context")] = None
    """Where `$source` is told from."""
    utm_properties: Annotated[
        dict[str, Any] | None,
        Mapped(
            {
                "utm_source": "$.context.campaign.source",
                "utm_medium": "$.context.campaign.medium",
                "utm_campaign": "$.context.campaign.name",
                "utm_term": "$.context.campaign.term",
                "utm_content": "$.context.campaign.content",
            }
        ),
        Shape(Campaign),
    ] = None
    """The campaign that the user came by."""
    enable_batching: Annotated[bool, Mapped(True)] = True
    """False: a request for each event."""
    batch_size: Annotated[int, Mapped(1000)] = 1000
    """Events that share a request at most; 2000 is Mixpanel's own limit."""
    userAgentData: Annotated[
        dict[str, Any] | None,
        Mapped(
            {name: f"$.context.userAgentData.{name}" for name in UserAgentData.__struct_fields__},
        ),
        Shape(UserAgentData),
    ] = None
    """Client hints; all but `architecture` and `model` are sent."""


class Purchase(Track, kw_only=True, frozen=True):
    generatePurchaseEventPerProduct: Annotated[bool, Mapped(True)] = True
    """Whether each product becomes an event `Product Purchased` of its own, besides."""
    products: Annotated[
        list[dict[str, Any]] | None,
        Mapped(each("$.properties.products", {name: f"$.{name}" for name in Product.__struct_fields__})),
        Shape(Product, extra=True),
    ] = None
    """What was bought."""


class Profile(Struct, kw_only=True, frozen=True):
    ip: Annotated[str | None, Mapped("$.context.ip")] = None
    """By which Mixpanel finds the place."""
    user_id: Annotated[str | UnsetType | None, Mapped("$.userId")] = UNSET
    """Who they are."""
    anonymous_id: Annotated[str | UnsetType | None, Mapped("$.anonymousId")] = UNSET
    """Who they were before: both become one."""
    traits: Annotated[dict[str, Any] | None, Mapped("$.traits")] = None
    """What is known of them."""


class Group(Struct, kw_only=True, frozen=True):
    group_id: Annotated[str, Mapped("$.groupId")]
    """The group."""
    group_key: str | None = None
    """The group key as it is set up in Mixpanel; its value is the trait of that name. Default: `$group_id`."""
    traits: Annotated[dict[str, Any] | None, Mapped("$.traits")] = None
    """What is known of it."""


class Alias(Struct, kw_only=True, frozen=True):
    alias: Annotated[str | UnsetType | None, Mapped(ANYBODY)] = UNSET
    """The new id."""
    distinct_id: Annotated[str | None, Mapped("$.previousId")] = None
    """The old one."""


class Increment(Struct, kw_only=True, frozen=True):
    increment: Annotated[dict[str, Any], Mapped("$.properties.increment")]
    """Property → what is added to it; 20 at most."""
    ip: Annotated[str | None, Mapped("$.context.ip")] = None
    """By which Mixpanel finds the place."""
    user_id: Annotated[str | UnsetType | None, Mapped("$.userId")] = UNSET
    """Whose."""
    anonymous_id: Annotated[str | UnsetType | None, Mapped("$.anonymousId")] = UNSET
    """Or whose, while they are nobody."""
