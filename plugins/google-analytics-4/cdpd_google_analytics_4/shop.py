"""The actions for shops, sign-ups and leads: a table of parameters, a table of actions, and the payloads made of both.

Source: spec/destinations.md §1 (fields), §1.1 (names and own parameters in order), §1.2 (currencies).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from cdpd.destinations.actions import Mapped, Shape, each
from cdpd_google_analytics_4.payloads import Item, PromotedItem, ShopHit


class Parameter(Struct, frozen=True, eq=False):
    """A field that is sent under its own name."""

    name: str
    doc: str
    mapping: Any = None
    type: Any = str
    required: bool = False

    def like(self, **changes: Any) -> Parameter:
        """The same, but for some of it."""
        return msgspec.structs.replace(self, **changes)

    @property
    def member(self) -> tuple[Any, ...]:
        """As `msgspec.defstruct` wants it."""
        of: Any = self.type if self.required else self.type | None
        marks: list[Any] = [Meta(description=self.doc)]
        if self.mapping is not None:
            marks.append(Mapped(self.mapping))
        of = Annotated[(of, *marks)]
        return (self.name, of) if self.required else (self.name, of, None)


_PRODUCT: Final = {
    "item_id": "$.product_id",
    "item_name": "$.name",
    "affiliation": "$.affiliation",
    "coupon": "$.coupon",
    "item_brand": "$.brand",
    "item_category": "$.category",
    "item_variant": "$.variant",
    "price": "$.price",
    "quantity": "$.quantity",
}
_ITEMS: Final = Annotated[list[dict[str, Any]], Shape(Item, extra=True)]
_PROMOTED: Final = Annotated[list[dict[str, Any]], Shape(PromotedItem, extra=True)]

AFFILIATION: Final = Parameter("affiliation", "The shop or the partner.", "$.properties.affiliation")
COUPON: Final = Parameter("coupon", "Of the whole order.", "$.properties.coupon")
CURRENCY: Final = Parameter("currency", "ISO 4217, such as `EUR`.", "$.properties.currency")
VALUE: Final = Parameter("value", "What it is worth, in that currency.", "$.properties.value", float)
TOTAL: Final = VALUE.like(mapping="$.properties.total")
TAX: Final = Parameter("tax", "Within the value.", "$.properties.tax", float)
SHIPPING: Final = Parameter("shipping", "What delivery costs.", "$.properties.shipping", float)
ORDER: Final = Parameter(
    "transaction_id",
    "The order. Google counts a purchase once for each.",
    "$.properties.order_id",
    required=True,
)
ITEMS: Final = Parameter(
    "items",
    "The products, at most 200.",
    each("$.properties.products", {**_PRODUCT, "index": "$.position"}),
    _ITEMS,
    required=True,
)
ITEM: Final = ITEMS.like(doc="The product.", mapping=each("$.properties", _PRODUCT))
PROMOTED: Final = ITEM.like(doc="What is promoted.", type=_PROMOTED)
LIST_ID: Final = Parameter("item_list_id", "The list of products.")
LIST_NAME: Final = Parameter("item_list_name", "Its name.")
PLACE: Final = Parameter("location_id", "Where the promotion is.")
CREATIVE: Final = (
    Parameter("creative_name", "The promotion's creative."),
    Parameter("creative_slot", "Where it stood.", "$.properties.creative"),
)
PROMOTION: Final = (
    Parameter("promotion_id", "The promotion.", "$.properties.promotion_id"),
    Parameter("promotion_name", "Its name.", "$.properties.name"),
)
PAYMENT: Final = Parameter("payment_type", "How it is paid.", "$.properties.payment_method")
TERM: Final = Parameter("search_term", "What was searched for.", "$.properties.query", required=True)
METHOD: Final = Parameter("method", "How: by e-mail, by another account …")


class Kind(Struct, frozen=True, eq=False):
    """An action of the table."""

    name: str
    title: str
    event: str
    """As Google calls it."""
    on: str | None
    """The track event that starts it; None: none by itself."""
    own: tuple[Parameter, ...]
    """In the order in which they are sent."""
    currency: Literal["", "of_value", "always"] = ""
    """`of_value`: needed beside a value. `always`: that, and in any case one here or at the first item."""
    empty_items: bool = True
    """Whether the list of items may be empty."""

    @property
    def payload(self) -> type[ShopHit]:
        """Its Struct: a new one each time."""
        members = [parameter.member for parameter in self.own]
        name = self.name[0].upper() + self.name[1:]
        made = msgspec.defstruct(name, members, bases=(ShopHit,), module=__name__, kw_only=True, frozen=True)
        assert issubclass(made, ShopHit)
        return made


KINDS: Final = (
    Kind(
        "purchase", "Purchase", "purchase", "Order Completed",
        (AFFILIATION, COUPON, CURRENCY.like(required=True), ITEMS, ORDER, SHIPPING, TOTAL, TAX),
    ),
    Kind(
        "refund", "Refund", "refund", "Order Refunded",
        (CURRENCY, ORDER, TOTAL, AFFILIATION, COUPON.like(mapping=None), SHIPPING, TAX.like(mapping=None),
         ITEMS.like(required=False)),
        "always",
    ),
    Kind("addToCart", "Add to Cart", "add_to_cart", "Product Added", (CURRENCY, ITEM, VALUE)),
    Kind(
        "removeFromCart", "Remove from Cart", "remove_from_cart", "Product Removed", (CURRENCY, ITEM, VALUE), "always",
    ),
    Kind("viewItem", "View Item", "view_item", "Product Viewed", (CURRENCY, ITEM, VALUE)),
    Kind("viewCart", "View Cart", "view_cart", "Cart Viewed", (CURRENCY, ITEMS, VALUE), "always"),
    Kind(
        "addToWishlist", "Add to Wishlist", "add_to_wishlist", "Product Added to Wishlist", (CURRENCY, ITEM, VALUE),
        "always",
    ),
    Kind("beginCheckout", "Begin Checkout", "begin_checkout", "Checkout Started", (COUPON, CURRENCY, ITEMS, VALUE)),
    Kind(
        "addPaymentInfo", "Add Payment Info", "add_payment_info", "Payment Info Entered",
        (CURRENCY, VALUE, COUPON.like(mapping=None), PAYMENT, ITEMS),
        "always", empty_items=False,
    ),
    Kind("selectItem", "Select Item", "select_item", "Product Clicked", (LIST_NAME, LIST_ID, ITEM)),
    Kind(
        "viewItemList", "View Item List", "view_item_list", "Product List Viewed",
        (LIST_NAME.like(mapping="$.properties.category"), LIST_ID.like(mapping="$.properties.list_id"), ITEMS),
    ),
    Kind(
        "selectPromotion", "Select Promotion", "select_promotion", "Promotion Clicked",
        (*CREATIVE, PLACE, *PROMOTION, PROMOTED.like(required=False)),
    ),
    Kind(
        "viewPromotion", "View Promotion", "view_promotion", "Promotion Viewed",
        (*CREATIVE, PLACE.like(mapping="$.properties.position"), *PROMOTION, PROMOTED),
    ),
    Kind("search", "Search", "search", "Products Searched", (TERM,)),
    Kind("signUp", "Sign Up", "sign_up", "Signed Up", (METHOD.like(mapping="$.properties.type"),)),
    Kind("login", "Login", "login", "Signed In", (METHOD,)),
    Kind("generateLead", "Generate Lead", "generate_lead", None, (CURRENCY, VALUE), "of_value"),
)  # fmt: skip

EXAMPLE: Final = {
    "properties": {
        "order_id": "ord-55",
        "product_id": "p-1",
        "name": "Mug",
        "price": 10,
        "quantity": 2,
        "value": 20,
        "total": 20,
        "currency": "EUR",
        "query": "mugs",
        "products": [{"product_id": "p-1", "name": "Mug", "price": 10, "quantity": 2, "position": 1}],
    }
}
"""Fits all of them."""
